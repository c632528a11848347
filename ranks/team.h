// The processes that share a run. Every member makes the same calls in the same order.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config.h"
#include "ranks/launch.h"
#include "ranks/rendezvous.h"
#include "ranks/transport.h"

namespace zeroth {

struct RanksConfig {
  double timeout_s = 300;
  double silence_s = 4;
  std::string engine = "gloo";
  bool direct = true;
  bool expert_parallel = false;
  template <class V>
  void fields(V& v) {
    v("timeout_s", timeout_s, "seconds until all ranks of a job must have come", Range{1, 86400});
    v("silence_s", silence_s,
      "a rank that shows no sign of life for so many seconds is gone, and the job ends",
      Range{1, 3600});
    v("engine", engine,
      "what carries messages between ranks: gloo (TCP), mpi (Open MPI, for ranks that mpirun or "
      "srun --mpi=pmix starts), or nccl (over GPUs, one a rank); the bytes are the same",
      Choice{{"gloo", "mpi", "nccl"}});
    v("direct", direct,
      "with gloo: gradients and parameters for a rank of this machine are read by it from this "
      "one's memory, where the system allows it, in place of a connection; the bytes are the same");
    v("expert_parallel", expert_parallel,
      "each rank keeps a share of the experts of a mixture and computes the others' rows with it, "
      "in place of all experts; the bytes are the same");
  }
};

// Not thread safe, but for cut() and fail().
class Team {
 public:
  // Blocks until all ranks are there; see Rendezvous for what it refuses. The process must have
  // several ranks. When a rank is lost later, every call that waits throws Error naming it, and a
  // process that has not ended some seconds after is ended with exit code 1.
  static std::unique_ptr<Team> join(const Launch& launch, const std::vector<RankFact>& facts,
                                    const RanksConfig& config);
  ~Team();
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;

  int rank() const { return launch_.rank; }
  int size() const { return launch_.size; }
  bool first() const { return launch_.rank == 0; }
  const Launch& launch() const { return launch_; }

  // What every member gave, by rank. `what` names the call: members that are not at the same one
  // are an Error. Also the place where members agree to stop.
  std::vector<std::string> gather(std::string_view what, std::string_view mine);
  // Rank 0's.
  std::string from_first(std::string_view what, std::string_view mine);
  // Whole arrays; see Transport.
  void exchange(std::span<const Outgoing> out, std::span<const Incoming> in);
  // What this member does for the others from now on whenever it is at a call: `serve` returns when
  // all members are at one, which it finds out by serve_exchange() alone. {}: nothing.
  void set_service(std::function<void()> serve) { serve_ = std::move(serve); }
  // As exchange(), of a service: members need not be at the same call.
  void serve_exchange(std::span<const Outgoing> out, std::span<const Incoming> in);
  // Messages under way while this member computes; see Transport. Before it waits for them it calls
  // meet(): it may have to serve those who have not begun all that it waits for.
  using Ticket = Transport::Ticket;
  Ticket begin_exchange(std::span<const Outgoing> out, std::span<const Incoming> in);
  void finish_exchange(Ticket ticket);
  void meet();
  // Gives up what is under way, and with it the team: for a member that fails.
  void cancel_exchanges() noexcept;
  // By the engine's own sum, in an order of its own; see Transport.
  void sum(std::span<float> values) { transport_->sum(values); }
  // Member `rank`'s share of n things: neighbours, in the order of ranks.
  static int64_t share_begin(int64_t n, int rank, int size) { return n * rank / size; }
  int64_t begin_of(int64_t n) const { return share_begin(n, rank(), size()); }
  int64_t end_of(int64_t n) const { return share_begin(n, rank() + 1, size()); }

  // From now on a stop that any member is asked for (by `stop`, which must outlive this) becomes
  // true on all of them at the same gather(): the flag that is returned.
  const std::atomic<bool>* follow(const std::atomic<bool>* stop);
  // True from the moment that this member was asked to stop or the team was lost: work between two
  // calls may be cut short, if it then makes the next one.
  const std::atomic<bool>& cut() const { return cut_; }

  // This process ends with an error: the others say so too. Goodbye otherwise.
  void fail(const std::string& message) noexcept;
  // Goodbye, before a process that ends without its destructors; no calls after it.
  void leave();

  // Bytes that this member has sent, and seconds that it has spent in calls.
  int64_t sent_bytes() const { return sent_; }
  double waited_seconds() const { return waited_; }

 private:
  Team(const Launch& launch) : launch_(launch) {}

  Launch launch_;
  std::function<void()> serve_;
  std::atomic<bool> cut_{false}, agreed_{false};
  std::atomic<const std::atomic<bool>*> stop_{nullptr};
  std::atomic<Transport*> abort_{nullptr};
  int64_t sent_ = 0;
  double waited_ = 0;
  std::unique_ptr<Rendezvous> rendezvous_;
  std::unique_ptr<Transport> transport_;
};

}  // namespace zeroth
