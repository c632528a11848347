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
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ranks/neighbour_memory.h"

namespace zeroth {
namespace {

// Slots of gloo are numbers; those of its own calls have other first bytes.
constexpr uint64_t kBegun = uint64_t{0x80} << 56, kTaken = uint64_t{0x90} << 56;

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

using Buffer = std::unique_ptr<gloo::transport::UnboundBuffer>;

// Where a message to a rank of this machine lies, for that one to read it.
struct Place {
  uint64_t address = 0, bytes = 0;
};
// One that this rank reads, as soon as it knows where.
struct Read {
  int from = 0;
  uint64_t number = 0;  // of the message between the two ranks
  std::span<std::byte> to;
  std::unique_ptr<Place> place;
  Buffer coming;
};

// What one call has under way.
struct Flight {
  // First, to outlive the buffers.
  std::vector<std::unique_ptr<Place>> offers;
  std::vector<std::unique_ptr<char>> marks;  // that a message has been read
  std::vector<Buffer> receiving, sending;
  std::vector<Read> reads;
};

class GlooTransport : public Transport {
 public:
  GlooTransport(const Launch& launch, Rendezvous& rendezvous, double timeout_s, bool direct)
      : rendezvous_(rendezvous),
        counts_(launch.size),
        begun_out_(launch.size),
        begun_in_(launch.size),
        process_(launch.size, 0),
        reads_mine_(launch.size, 0) {
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
    if (direct) find_neighbours(launch);
  }
  ~GlooTransport() override { drop_all(); }

  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    finish(guarded([&] {
      Flight& flight = start();
      ++call_;
      std::fill(counts_.begin(), counts_.end(), 0);
      for (const Incoming& one : in) receive(flight, one.from, slot(one.from), one.bytes);
      std::fill(counts_.begin(), counts_.end(), 0);
      for (const Outgoing& one : out) send(flight, one.to, slot(one.to), one.bytes);
    }));
  }

  Ticket begin(std::span<const Outgoing> out, std::span<const Incoming> in) override {
    return guarded([&] {
      Flight& flight = start();
      for (const Incoming& one : in) {
        if (one.bytes.empty()) continue;
        const uint64_t number = begun_in_[one.from]++;
        if (process_[one.from] == 0) {
          receive(flight, one.from, kBegun + number, one.bytes);
          continue;
        }
        Read read{one.from, number, one.bytes, std::make_unique<Place>(), nullptr};
        read.coming = context_->createUnboundBuffer(read.place.get(), sizeof(Place));
        read.coming->recv(one.from, kBegun + number);
        flight.reads.push_back(std::move(read));
      }
      for (const Outgoing& one : out) {
        if (one.bytes.empty()) continue;
        const uint64_t number = begun_out_[one.to]++;
        if (reads_mine_[one.to] == 0) {
          send(flight, one.to, kBegun + number, one.bytes);
          continue;
        }
        const auto address = reinterpret_cast<uintptr_t>(one.bytes.data());
        flight.offers.push_back(std::make_unique<Place>(Place{address, one.bytes.size()}));
        flight.marks.push_back(std::make_unique<char>());
        receive(flight, one.to, kTaken + number, mark_of(flight));
        send(flight, one.to, kBegun + number,
             std::as_bytes(std::span(flight.offers.back().get(), 1)));
      }
    });
  }

  void finish(Ticket ticket) override {
    Flight& flight = flight_of(ticket);
    const Landing landing{*this, ticket};
    try {
      for (Read& read : flight.reads) take(flight, read);
      for (const Buffer& buffer : flight.receiving) {
        if (!buffer->waitRecv(kForever)) give_up("the exchange was ended", "");
      }
      for (const Buffer& buffer : flight.sending) {
        if (!buffer->waitSend(kForever)) give_up("the exchange was ended", "");
      }
    } catch (const gloo::Exception& error) {
      give_up("a connection between ranks broke", error.what());
    }
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
    for (auto& [ticket, flight] : flights_) {
      for (auto& read : flight.reads) read.coming->abortWaitRecv();
      for (auto& buffer : flight.receiving) buffer->abortWaitRecv();
      for (auto& buffer : flight.sending) buffer->abortWaitSend();
    }
  }

  void cancel() noexcept override {
    abort();
    drop_all();
  }

 private:
  // Ends a flight, whatever became of it. A buffer that is given up waits until gloo no longer reads
  // or writes its bytes.
  struct Landing {
    GlooTransport& of;
    Ticket ticket;
    ~Landing() { of.drop(ticket); }
  };
  void drop(Ticket ticket) {
    const std::lock_guard lock(mutex_);
    flights_.erase(ticket);
  }

  // Number of this message of the call between this rank and another one.
  uint64_t slot(int rank) { return (call_ << 20) + counts_[rank]++; }

  // post() under the lock, with a new flight under way; the flight's ticket.
  template <class Post>
  Ticket guarded(const Post& post) {
    const Ticket ticket = next_;
    try {
      const std::lock_guard lock(mutex_);
      if (aborted_) throw gloo::IoException("aborted");
      post();
      return ticket;
    } catch (const gloo::Exception& error) {
      drop(ticket);
      give_up("a connection between ranks broke", error.what());
    }
  }
  Flight& start() { return flights_[next_++]; }
  Flight& flight_of(Ticket ticket) {
    std::unique_lock lock(mutex_);
    const auto found = flights_.find(ticket);
    if (found != flights_.end()) return found->second;
    const bool given_up = aborted_;
    lock.unlock();
    if (given_up) give_up("the exchange was ended", "");
    fail("an exchange is waited for that is not under way");
  }
  void drop_all() {
    std::map<Ticket, Flight> all;
    const std::lock_guard lock(mutex_);
    all.swap(flights_);
  }

  void receive(Flight& flight, int from, uint64_t slot, std::span<std::byte> bytes) {
    if (bytes.empty()) return;
    auto buffer = context_->createUnboundBuffer(bytes.data(), bytes.size());
    buffer->recv(from, slot);
    flight.receiving.push_back(std::move(buffer));
  }
  void send(Flight& flight, int to, uint64_t slot, std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    // gloo only reads what it sends.
    auto buffer = context_->createUnboundBuffer(const_cast<std::byte*>(bytes.data()), bytes.size());
    buffer->send(to, slot);
    flight.sending.push_back(std::move(buffer));
  }
  static std::span<std::byte> mark_of(Flight& flight) {
    return std::as_writable_bytes(std::span(flight.marks.back().get(), 1));
  }

  // Reads a message out of its sender's memory, and tells that one.
  void take(Flight& flight, Read& read) {
    if (!read.coming->waitRecv(kForever)) give_up("the exchange was ended", "");
    const std::string who = "rank " + std::to_string(read.from);
    if (read.place->bytes != read.to.size()) {
      fail(who + " sends " + std::to_string(read.place->bytes) + " bytes where " +
           std::to_string(read.to.size()) + " are waited for");
    }
    if (!read_memory(process_[read.from], read.place->address, read.to))
      give_up("the memory of " + who + " cannot be read any more", "");
    const std::lock_guard lock(mutex_);
    if (aborted_) throw gloo::IoException("aborted");
    flight.marks.push_back(std::make_unique<char>());
    send(flight, read.from, kTaken + read.number, mark_of(flight));
  }

  // Which ranks' memory this process can read, and who reads this one's.
  void find_neighbours(const Launch& launch) {
    allow_siblings();
    std::vector<MemoryCard> cards(launch.size);
    all_to_all(launch, std::vector<MemoryCard>(launch.size, memory_.card()), cards);
    std::vector<char> reads(launch.size, 0);
    for (int r = 0; r < launch.size; ++r) {
      if (r == launch.rank || !readable(memory_.card(), cards[r])) continue;
      reads[r] = 1;
      process_[r] = cards[r].process;
    }
    all_to_all(launch, reads, reads_mine_);
  }
  // to[r] = from[this rank] of rank r.
  template <class T>
  void all_to_all(const Launch& launch, const std::vector<T>& from, std::vector<T>& to) {
    std::vector<Outgoing> out;
    std::vector<Incoming> in;
    for (int r = 0; r < launch.size; ++r) {
      if (r == launch.rank) continue;
      out.push_back({r, std::as_bytes(std::span(&from[r], 1))});
      in.push_back({r, std::as_writable_bytes(std::span(&to[r], 1))});
    }
    exchange(out, in);
  }

  [[noreturn]] void give_up(const std::string& what, const std::string& detail) {
    end_exchange(rendezvous_, what, detail);
  }

  Rendezvous& rendezvous_;
  const OwnMemory memory_;
  std::shared_ptr<gloo::rendezvous::Context> context_;
  std::mutex mutex_;  // guards what follows
  bool aborted_ = false;
  uint64_t call_ = 0;
  std::vector<uint64_t> counts_;
  std::vector<uint64_t> begun_out_, begun_in_;  // messages of begin(), by rank
  std::vector<int64_t> process_;                // whose memory is read, by rank; 0: it sends
  std::vector<char> reads_mine_;                // by rank
  Ticket next_ = 1;
  std::map<Ticket, Flight> flights_;
};

}  // namespace

std::unique_ptr<Transport> make_gloo_transport(const Launch& launch, Rendezvous& rendezvous,
                                               double timeout_s, bool direct) {
  return std::make_unique<GlooTransport>(launch, rendezvous, timeout_s, direct);
}

bool has_gloo() { return true; }

}  // namespace zeroth

#else

namespace zeroth {

bool has_gloo() { return false; }

std::unique_ptr<Transport> make_gloo_transport(const Launch&, Rendezvous&, double, bool) {
  fail("this build cannot connect several ranks: gloo was not there when it was configured",
       "install libgloo-dev (scripts/setup) and build again");
}

}  // namespace zeroth

#endif
