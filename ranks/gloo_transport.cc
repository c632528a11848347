// The mesh of gloo: unbound buffers between any two ranks.
#include "core/error.h"
#include "ranks/transport.h"

#ifdef ZEROTH_GLOO

#include <gloo/allreduce.h>
#include <gloo/common/error.h>
#include <gloo/rendezvous/context.h>
#include <gloo/rendezvous/store.h>
#include <gloo/transport/tcp/device.h>
#include <gloo/transport/unbound_buffer.h>

#include <algorithm>
#include <mutex>
#include <string>
#include <vector>

namespace zeroth {
namespace {

// A rank may compute for as long as it likes: who is alive is the rendezvous' affair.
constexpr auto kForever = std::chrono::hours(24 * 365);

// What gloo's ranks tell each other: under its number each one's addresses for all others, one
// behind the other. Those for one rank are sent to that rank alone: all to all would be R^3 of them
// through rank 0.
class Store : public gloo::rendezvous::Store {
 public:
  Store(const Launch& launch, Rendezvous& rendezvous)
      : rank_(launch.rank), others_(launch.size - 1), rendezvous_(rendezvous) {}

  void set(const std::string& key, const std::vector<char>& data) override {
    const std::string value(data.begin(), data.end());
    const size_t piece = value.size() / others_;
    if (key != std::to_string(rank_) || piece == 0 || piece * others_ != value.size())
      return rendezvous_.set(name_of(key), kWhole + value);
    for (size_t i = 0; i < others_; ++i) {
      const int to = static_cast<int>(i) + (static_cast<int>(i) >= rank_);
      rendezvous_.set(name_of(key), kPiece + value.substr(i * piece, piece), to);
    }
  }

  std::vector<char> get(const std::string& key) override {
    const std::string value = rendezvous_.get(name_of(key));
    if (value[0] == kWhole) return {value.begin() + 1, value.end()};
    // Only the place of this rank's is looked at.
    const int from = std::stoi(key);
    const size_t piece = value.size() - 1, at = static_cast<size_t>(rank_ - (rank_ > from));
    std::vector<char> all(piece * others_);
    std::copy(value.begin() + 1, value.end(), all.begin() + static_cast<ptrdiff_t>(at * piece));
    return all;
  }

  void wait(const std::vector<std::string>& keys) override {
    for (const std::string& key : keys) {
      if (key != std::to_string(rank_)) rendezvous_.get(name_of(key));
    }
  }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds&) override {
    wait(keys);
  }

 private:
  static constexpr char kWhole = 'w', kPiece = 'p';
  static std::string name_of(const std::string& key) { return "gloo/" + key; }

  const int rank_;
  const size_t others_;
  Rendezvous& rendezvous_;
};

class GlooTransport : public Transport {
 public:
  GlooTransport(const Launch& launch, Rendezvous& rendezvous, double timeout_s)
      : rendezvous_(rendezvous), counts_(launch.size) {
    try {
      gloo::transport::tcp::attr attr;
      attr.hostname = rendezvous.address();
      auto device = gloo::transport::tcp::CreateDevice(attr);
      context_ = std::make_shared<gloo::rendezvous::Context>(launch.rank, launch.size);
      context_->setTimeout(std::chrono::milliseconds(static_cast<int64_t>(1000 * timeout_s)));
      Store store(launch, rendezvous);
      context_->connectFullMesh(store, device);
    } catch (const gloo::Exception& error) {
      give_up("cannot connect the ranks", error.what());
    }
  }

  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    try {
      post(out, in);
      for (auto& buffer : receiving_) {
        if (!buffer->waitRecv(kForever)) give_up("the exchange was ended", "");
      }
      for (auto& buffer : sending_) {
        if (!buffer->waitSend(kForever)) give_up("the exchange was ended", "");
      }
    } catch (const gloo::Exception& error) {
      clear();
      give_up("a connection between ranks broke", error.what());
    }
    clear();
  }

  void sum(std::span<float> values) override {
    gloo::AllreduceOptions options(context_);
    options.setOutput(values.data(), values.size());
    options.setReduceFunction([](void* out, const void* a, const void* b, size_t n) {
      for (size_t i = 0; i < n; ++i) {
        static_cast<float*>(out)[i] =
            static_cast<const float*>(a)[i] + static_cast<const float*>(b)[i];
      }
    });
    try {
      gloo::allreduce(options);
    } catch (const gloo::Exception& error) {
      give_up("a connection between ranks broke", error.what());
    }
  }

  void abort() noexcept override {
    const std::lock_guard lock(mutex_);
    aborted_ = true;
    for (auto& buffer : receiving_) buffer->abortWaitRecv();
    for (auto& buffer : sending_) buffer->abortWaitSend();
  }

 private:
  using Buffers = std::vector<std::unique_ptr<gloo::transport::UnboundBuffer>>;

  // Number of this message of the call between this rank and another one.
  uint64_t slot(int rank) { return (call_ << 20) + counts_[rank]++; }

  void post(std::span<const Outgoing> out, std::span<const Incoming> in) {
    const std::lock_guard lock(mutex_);
    if (aborted_) throw gloo::IoException("aborted");
    ++call_;
    std::fill(counts_.begin(), counts_.end(), 0);
    for (const Incoming& one : in) {
      if (one.bytes.empty()) continue;
      auto buffer = context_->createUnboundBuffer(one.bytes.data(), one.bytes.size());
      buffer->recv(one.from, slot(one.from));
      receiving_.push_back(std::move(buffer));
    }
    std::fill(counts_.begin(), counts_.end(), 0);
    for (const Outgoing& one : out) {
      if (one.bytes.empty()) continue;
      // gloo only reads what it sends.
      auto buffer =
          context_->createUnboundBuffer(const_cast<std::byte*>(one.bytes.data()), one.bytes.size());
      buffer->send(one.to, slot(one.to));
      sending_.push_back(std::move(buffer));
    }
  }

  void clear() {
    const std::lock_guard lock(mutex_);
    receiving_.clear();
    sending_.clear();
  }

  [[noreturn]] void give_up(const std::string& what, const std::string& detail) {
    end_exchange(rendezvous_, what, detail);
  }

  Rendezvous& rendezvous_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::mutex mutex_;  // guards what follows
  bool aborted_ = false;
  uint64_t call_ = 0;
  std::vector<uint64_t> counts_;
  Buffers receiving_, sending_;
};

}  // namespace

std::unique_ptr<Transport> make_gloo_transport(const Launch& launch, Rendezvous& rendezvous,
                                               double timeout_s) {
  return std::make_unique<GlooTransport>(launch, rendezvous, timeout_s);
}

bool has_gloo() { return true; }

}  // namespace zeroth

#else

namespace zeroth {

bool has_gloo() { return false; }

std::unique_ptr<Transport> make_gloo_transport(const Launch&, Rendezvous&, double) {
  fail("this build cannot connect several ranks: gloo was not there when it was configured",
       "install libgloo-dev (scripts/setup) and build again");
}

}  // namespace zeroth

#endif
