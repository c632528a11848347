#include "ranks/team.h"

#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "core/error.h"
#include "core/stopwatch.h"

namespace zeroth {
namespace {

constexpr uint64_t kMostGathered = uint64_t{1} << 40;

// In front of what a member gives.
struct Header {
  uint64_t bytes = 0;
  uint32_t what = 0;
  uint32_t stop = 0;
};

uint32_t hash_of(std::string_view text) {
  uint32_t hash = 2166136261u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619u;
  return hash;
}

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

std::unique_ptr<Team> Team::join(const Launch& launch, const std::vector<RankFact>& facts,
                                 const RanksConfig& config) {
  std::unique_ptr<Team> team(new Team(launch));
  Team& self = *team;
  RendezvousOptions options;
  options.timeout_s = config.timeout_s;
  options.silence_s = config.silence_s;
  options.on_lost = [&self](const std::string&) {
    self.cut_ = true;
    if (Transport* transport = self.abort_) transport->abort();
  };
  options.on_overdue = [](const std::string& why) {
    std::fprintf(stderr, "zeroth: %s\n", why.c_str());
    ::_exit(1);
  };
  options.on_tick = [&self] {
    const std::atomic<bool>* stop = self.stop_;
    if (stop != nullptr && stop->load()) self.cut_ = true;
  };
  team->rendezvous_ = std::make_unique<Rendezvous>(launch, facts, options);
  try {
    Rendezvous& rendezvous = *team->rendezvous_;
    if (config.engine == "mpi") {
      team->transport_ = make_mpi_transport(launch, rendezvous);
    } else if (config.engine == "nccl") {
      team->transport_ = make_nccl_transport(launch, rendezvous);
    } else {
      team->transport_ = make_gloo_transport(launch, rendezvous, config.timeout_s, config.direct);
    }
  } catch (const std::exception& error) {
    team->fail(error.what());
    throw;
  }
  team->abort_ = team->transport_.get();
  return team;
}

Team::~Team() { leave(); }

void Team::fail(const std::string& message) noexcept {
  if (Transport* transport = abort_) transport->abort();  // which no longer waits for the others
  rendezvous_->fail(message);
}

void Team::leave() {
  abort_ = nullptr;
  rendezvous_.reset();  // its thread looks at the transport
  transport_.reset();
}

void Team::exchange(std::span<const Outgoing> out, std::span<const Incoming> in) {
  meet();
  serve_exchange(out, in);
}

void Team::serve_exchange(std::span<const Outgoing> out, std::span<const Incoming> in) {
  const Stopwatch watch(waited_);
  for (const Outgoing& one : out) sent_ += static_cast<int64_t>(one.bytes.size());
  transport_->exchange(out, in);
}

Team::Ticket Team::begin_exchange(std::span<const Outgoing> out, std::span<const Incoming> in) {
  for (const Outgoing& one : out) sent_ += static_cast<int64_t>(one.bytes.size());
  return transport_->begin(out, in);
}

void Team::meet() {
  if (serve_) serve_();
}

void Team::finish_exchange(Ticket ticket) {
  const Stopwatch watch(waited_);
  transport_->finish(ticket);
}

void Team::cancel_exchanges() noexcept {
  if (transport_ != nullptr) transport_->cancel();
}

std::vector<std::string> Team::gather(std::string_view what, std::string_view mine) {
  const std::atomic<bool>* stop = stop_;
  const Header own{mine.size(), hash_of(what), stop != nullptr && stop->load() ? 1u : 0u};
  std::vector<Header> headers(size());
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    out.push_back({r, std::as_bytes(std::span(&own, 1))});
    in.push_back({r, std::as_writable_bytes(std::span(&headers[r], 1))});
  }
  exchange(out, in);  // where it serves; from here on all are at this call
  headers[rank()] = own;
  bool stopped = false;
  for (int r = 0; r < size(); ++r) {
    stopped = stopped || headers[r].stop != 0;
    if (headers[r].what != own.what || headers[r].bytes > kMostGathered) {
      zeroth::fail("rank " + std::to_string(r) + " is not at \"" + std::string(what) +
                       "\", where rank " + std::to_string(rank()) + " is",
                   "the ranks see different files or configs");
    }
  }
  std::vector<std::string> all(size());
  out.clear();
  in.clear();
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    all[r].resize(headers[r].bytes);
    out.push_back({r, bytes_of(mine)});
    in.push_back({r, std::as_writable_bytes(std::span(all[r].data(), all[r].size()))});
  }
  serve_exchange(out, in);
  all[rank()] = mine;
  if (stopped) cut_ = agreed_ = true;
  return all;
}

std::string Team::from_first(std::string_view what, std::string_view mine) {
  return gather(what, first() ? mine : std::string_view()).front();
}

const std::atomic<bool>* Team::follow(const std::atomic<bool>* stop) {
  stop_ = stop;
  return &agreed_;
}

}  // namespace zeroth
