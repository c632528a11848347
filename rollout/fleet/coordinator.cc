#include "rollout/fleet/coordinator.h"

#include <algorithm>
#include <thread>

#include "core/error.h"
#include "kernels/ops.h"
#include "rollout/fleet/coordinator_impl.h"

namespace zeroth::fleet {
namespace {

constexpr double kHeardOf = 5;      // seconds in which a worker that says nothing counts as alive
constexpr double kForgotten = 600;  // after which it is no longer listed
constexpr double kTick = 0.1, kStatusEvery = 2;

HttpServerOptions server_options(const FleetConfig& config) {
  HttpServerOptions options;
  std::tie(options.address, options.port) = parse_listen(config.listen, "fleet.listen");
  options.certificate_file = config.certificate;
  options.key_file = config.key;
  options.connections = static_cast<size_t>(config.max_workers) * 4 + 64;
  options.connections_of_address = options.connections;
  return options;
}

std::filesystem::path token_file_of(const FleetConfig& config, const FleetSetup& setup) {
  if (!config.token_file.empty()) return config.token_file;
  if (setup.folder.empty()) {
    fail_usage("fleet.token_file is empty", "name a file with the token that workers must know");
  }
  make_token_file(setup.folder / "token");
  return setup.folder / "token";
}

}  // namespace

Coordinator::Impl::Impl(const FleetConfig& fleet_config, FleetSetup fleet_setup)
    : config(fleet_config),
      setup(std::move(fleet_setup)),
      model(setup.model.source),
      layout(std::make_shared<const ImageLayout>(setup.model, setup.element)),
      token_file(token_file_of(config, setup)),
      tokens(TokenList::from_file(token_file)),
      quarantine(setup.folder),
      book({.lease_s = config.lease_s}),
      server(server_options(config)) {
  for (const auto& [name, content] : setup.tokenizer_files)
    files.push_back({name, blobs.add_file(content)});
  identity = {kernels::contract_hash(), hash_of_config(model, setup.element, setup.record_experts),
              hash_of_files(files)};
  instance = random_hex(4);
  if (!setup.folder.empty()) {
    std::filesystem::create_directories(setup.folder);
    status_file = setup.folder / "status.json";
  }
}

WorkerSession* Coordinator::Impl::session_of(const std::string& id) {
  const auto found = sessions.find(id);
  if (found == sessions.end()) return nullptr;
  found->second.heard = steady_now();
  return &found->second;
}

void Coordinator::Impl::forget(const std::string& id) {
  book.release(id);
  const auto found = sessions.find(id);
  if (found == sessions.end()) return;
  WorkerSession& session = found->second;
  if (alive(session, steady_now())) --sharing;
  if (session.parked) session.parked->reply(error_reply(409, "this session has ended"));
  named.erase(session.name);
  sessions.erase(found);
}

bool Coordinator::Impl::alive(const WorkerSession& session, double now) const {
  return (session.parked && session.parked->open()) || now - session.heard < kHeardOf;
}

int Coordinator::Impl::alive_count(double now) const {
  return static_cast<int>(std::count_if(sessions.begin(), sessions.end(),
                                        [&](const auto& s) { return alive(s.second, now); }));
}

// A worker gets its share of the whole batch at once, because decoding many sequences together is
// what makes it fast, and not more, because the others are on their way.
LeasesGiven Coordinator::Impl::give(WorkerSession& session, int64_t capacity, double now) {
  LeasesGiven out;
  out.weights = newest;
  out.finished = finished;
  if (!open || capacity < 1) return out;
  const int64_t among = std::max<int64_t>(1, sharing);
  const int64_t mine = (batch_samples + among - 1) / among - book.held_samples(session.id);
  const int64_t share = std::min(capacity, mine);
  if (share < 1) return out;
  for (const LentLease& lent : book.lend(session.id, share, now)) {
    const Piece& piece = pieces.at(lent.work);
    wanted.at(piece.request).fresh = false;
    out.leases.push_back(lease_of(lent.lease, piece));
  }
  return out;
}

Lease Coordinator::Impl::lease_of(LeaseId id, const Piece& piece) const {
  const Wanted& whole = wanted.at(piece.request);
  Lease lease{id, whole.weights, whole.request, whole.follow};
  lease.request.first_sample += static_cast<uint32_t>(piece.first_sample);
  lease.request.samples = piece.samples;
  return lease;
}

Delivery Coordinator::Impl::delivery_of(WorkId work, const Piece& piece,
                                        std::vector<Sample> samples) const {
  Delivery out;
  out.request = piece.request;
  out.first_sample = piece.first_sample;
  out.samples = std::move(samples);
  out.weights = wanted.at(piece.request).weights;
  out.work = work;
  out.worker = piece.worker;
  return out;
}

void Coordinator::Impl::serve(WorkerSession& session, double now) {
  if (!session.parked) return;
  if (!session.parked->open()) {
    session.parked = nullptr;
    return;
  }
  const bool news = finished || session.weights != newest;
  const bool work = open && book.waiting_samples() > 0;
  if (!news && !work && now < session.parked_until) return;
  // With old weights it fetches the new ones first.
  const LeasesGiven given = give(session, news ? 0 : session.capacity, now);
  if (!news && given.leases.empty() && now < session.parked_until) return;
  session.told = finished;
  std::exchange(session.parked, nullptr)
      ->reply(message_reply(given.to_json(), session.parked_type));
}

bool Coordinator::Impl::serve(const WeightsPoll& poll, double now) {
  const bool any = poll.wanted.empty();
  const WeightsManifest* manifest =
      any && poll.after == newest ? nullptr : blobs.manifest(any ? newest : poll.wanted);
  if (manifest != nullptr && !manifest->serves(poll.after)) {
    to_name = manifest->sha256;
    naming.notify_one();
    manifest = nullptr;
  } else if (!any && manifest == nullptr) {
    poll.exchange->reply(gone("weights", "these weights are not kept here any more"));
    return true;
  }
  if (poll.exchange->open() && manifest == nullptr && now < poll.until && !(any && finished))
    return false;
  HttpReply none;
  none.status = 204;
  poll.exchange->reply(manifest ? message_reply(manifest->to_json(), kJsonType) : none);
  return true;
}

void Coordinator::Impl::name_chunks() {
  std::unique_lock lock(mutex);
  while (!stopping) {
    naming.wait(lock, [this] { return stopping || !to_name.empty(); });
    const std::string sha256 = std::exchange(to_name, {});
    lock.unlock();
    blobs.name_chunks(sha256, mutex);
    lock.lock();
    serve_parked();
  }
}

void Coordinator::Impl::serve_parked() {
  const double now = steady_now();
  sharing = alive_count(now);
  for (auto& [id, session] : sessions) serve(session, now);
  weights_polls.remove_if([&](const WeightsPoll& poll) { return serve(poll, now); });
}

void Coordinator::Impl::tick() {
  {
    std::lock_guard lock(mutex);
    const double now = steady_now();
    for (const std::string& id : book.expire(now)) {
      const auto found = sessions.find(id);
      if (found != sessions.end()) ++found->second.expired;
    }
    for (auto at = sessions.begin(); at != sessions.end();) {
      const bool old = !at->second.parked && now - at->second.heard > kForgotten;
      if (old) named.erase(at->second.name);
      if (old) book.release(at->first);
      at = old ? sessions.erase(at) : std::next(at);
    }
    serve_parked();
    if (now - status_written < kStatusEvery) return;
    status_written = now;
  }
  write_status();
}

Coordinator::Coordinator(const FleetConfig& config, FleetSetup setup)
    : impl_(std::make_unique<Impl>(config, std::move(setup))) {
  Impl* impl = impl_.get();
  impl->server.start(
      [impl](const HttpRequest& request, uint64_t& bytes) { return impl->admit(request, bytes); },
      [impl](const HttpExchangePtr& exchange) { impl->handle(exchange); });
  impl->server.every(kTick, [impl] { impl->tick(); });
  impl->namer = std::thread([impl] { impl->name_chunks(); });
}

Coordinator::~Coordinator() {
  impl_->server.stop();
  {
    std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    impl_->naming.notify_one();
  }
  impl_->namer.join();
  impl_->write_status();
}

uint16_t Coordinator::port() const { return impl_->server.port(); }

std::string Coordinator::url() const {
  const std::string host = parse_listen(impl_->config.listen, "fleet.listen").first;
  const bool six = host.find(':') != std::string::npos;
  return (impl_->server.tls() ? "https://" : "http://") + (six ? "[" + host + "]" : host) + ":" +
         std::to_string(port());
}

std::filesystem::path Coordinator::token_file() const { return impl_->token_file; }

std::string Coordinator::publish(const Weights& weights, int keep) {
  const double begin = steady_now();
  impl_->blobs.make_room(keep, impl_->mutex);
  const auto image = std::make_shared<const WeightsImage>(impl_->layout, weights);
  const std::string sha256 = image->sha256();
  impl_->blobs.add(image, sha256, weights.version(), keep, impl_->mutex);
  std::lock_guard lock(impl_->mutex);
  impl_->newest = sha256;
  impl_->newest_version = weights.version();
  for (auto& [number, wanted] : impl_->wanted) {
    if (wanted.fresh) wanted.weights = sha256;
  }
  impl_->published.emplace_back(sha256, weights.version());
  if (impl_->published.size() > kMaxVersions) impl_->published.pop_front();
  ++impl_->counts.publications;
  impl_->counts.publish_s += steady_now() - begin;
  impl_->serve_parked();
  return sha256;
}

void Coordinator::begin() {
  std::lock_guard lock(impl_->mutex);
  impl_->open = true;
  impl_->batch_samples = 0;
}

void Coordinator::add(const std::vector<int>& numbers,
                      const std::vector<GenerationRequest>& requests, const std::string& weights,
                      WeightsUse use) {
  std::lock_guard lock(impl_->mutex);
  for (size_t r = 0; r < requests.size(); ++r) {
    Impl::Wanted& wanted = impl_->wanted[numbers[r]] = {
        requests[r], weights, use != WeightsUse::kOwn, use == WeightsUse::kSwitch, {}};
    const int all = requests[r].samples;
    const int most = impl_->config.group_split > 0 ? impl_->config.group_split : all;
    for (int first = 0; first < all; first += most) {
      const int n = std::min(most, all - first);
      wanted.works.push_back(impl_->book.add(n));
      impl_->pieces[wanted.works.back()] = {numbers[r], first, n, {}, {}};
      impl_->batch_samples += n;
    }
  }
  impl_->serve_parked();
}

std::set<std::string> Coordinator::weights_in_use() const {
  std::lock_guard lock(impl_->mutex);
  std::set<std::string> out;
  for (const auto& [number, wanted] : impl_->wanted) out.insert(wanted.weights);
  return out;
}

void Coordinator::remove(int number) {
  std::lock_guard lock(impl_->mutex);
  const auto found = impl_->wanted.find(number);
  if (found == impl_->wanted.end()) return;
  for (const WorkId work : found->second.works) {
    impl_->batch_samples -= impl_->pieces.at(work).samples;
    impl_->book.withdraw(work);
    impl_->pieces.erase(work);
  }
  std::erase_if(impl_->deliveries,
                [&](const Delivery& delivery) { return delivery.request == number; });
  impl_->wanted.erase(found);
}

std::optional<Delivery> Coordinator::next(double wait_s) {
  std::unique_lock lock(impl_->mutex);
  impl_->delivered.wait_for(lock, std::chrono::duration<double>(wait_s),
                            [&] { return !impl_->deliveries.empty(); });
  if (impl_->deliveries.empty()) return std::nullopt;
  Delivery out = std::move(impl_->deliveries.front());
  impl_->deliveries.pop_front();
  return out;
}

// What is kept against a worker: what it claimed, what was found, and all that it takes to compute
// it again.
Json Coordinator::Impl::evidence_of(const Piece& piece, const std::vector<Sample>& samples,
                                    const AuditFinding& finding) const {
  const Lease lease = lease_of(0, piece);
  Json evidence = {{"finding",
                    {{"field", finding.field},
                     {"sample", finding.sample},
                     {"token", finding.token},
                     {"claimed", finding.claimed},
                     {"found", finding.found}}},
                   {"weights_version", newest_version},
                   {"lease", lease.to_json()},
                   {"result", Result{0, "", lease.weights, samples}.to_json()}};
  if (!lease.follow) return evidence;
  for (const Sample& sample : samples) {
    Json segments = Json::array();
    for (const VersionSegment& segment : sample.versions)
      segments.push_back({segment.first, segment.version});
    evidence["segments"].push_back(std::move(segments));
  }
  return evidence;
}

// Its sessions end, and so do all of its token.
void Coordinator::Impl::end_sessions(const std::string& worker, const std::string& token) {
  std::vector<std::string> theirs;
  for (const auto& [id, session] : sessions) {
    if (session.name == worker || (!token.empty() && session.token == token)) theirs.push_back(id);
  }
  for (const std::string& id : theirs) forget(id);
}

// What it gave is drawn again: `works`, which were delivered, and what waits for delivery.
void Coordinator::Impl::disown(const std::string& worker, const std::vector<int64_t>& works) {
  std::set<int64_t> again(works.begin(), works.end());
  std::deque<Delivery> kept;
  for (Delivery& delivery : deliveries) {
    if (delivery.worker == worker) {
      again.insert(delivery.work);
    } else if (delivery.rival_worker != worker) {
      kept.push_back(std::move(delivery));
    }
  }
  deliveries.swap(kept);
  for (const int64_t id : again) {
    Piece& piece = pieces.at(id);
    if (piece.worker != worker) continue;
    piece.worker.clear();
    piece.accepted.clear();
    piece.disputes = 0;
    book.reopen(id);
  }
}

void Coordinator::convict(const std::string& worker, int64_t work,
                          const std::vector<Sample>& samples, const AuditFinding& finding,
                          const std::vector<int64_t>& works) {
  Json evidence;
  std::string token;
  {
    std::lock_guard lock(impl_->mutex);
    for (const auto& [id, session] : impl_->sessions)
      if (session.name == worker) token = session.token;
    evidence = impl_->evidence_of(impl_->pieces.at(work), samples, finding);
    ++impl_->counts.mismatches;
    ++impl_->counts.quarantined;
  }
  impl_->quarantine.add(worker, token, finding.describe(), std::move(evidence));
  std::lock_guard lock(impl_->mutex);
  impl_->end_sessions(worker, token);
  impl_->disown(worker, works);
  impl_->serve_parked();
}

void Coordinator::end() {
  std::lock_guard lock(impl_->mutex);
  impl_->book.withdraw_all();
  impl_->pieces.clear();
  impl_->deliveries.clear();
  impl_->wanted.clear();
  impl_->open = false;
}

void Coordinator::note_audit() {
  std::lock_guard lock(impl_->mutex);
  ++impl_->counts.audited;
}

void Coordinator::finish() {
  {
    std::lock_guard lock(impl_->mutex);
    impl_->finished = true;
    impl_->serve_parked();
  }
  impl_->write_status();
  // Workers that are between two polls come within a moment.
  const auto missing = [this] {
    std::lock_guard lock(impl_->mutex);
    const double now = steady_now();
    return std::any_of(impl_->sessions.begin(), impl_->sessions.end(), [&](const auto& s) {
      return !s.second.told && impl_->alive(s.second, now);
    });
  };
  for (int i = 0; i < 40 && missing(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  // The answers are on their way.
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

int Coordinator::workers() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->alive_count(steady_now());
}

Json Coordinator::status() const {
  std::lock_guard lock(impl_->mutex);
  return impl_->status_json();
}

std::string Coordinator::metrics() const { return metrics_text(status()); }

}  // namespace zeroth::fleet
