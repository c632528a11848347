// How the ranks of a job find each other, agree that they are one job, and notice that one is gone.
//
// Rank 0 listens at the launch's address; every other rank keeps one connection to it. Until the
// end both sides say that they are alive, so that a rank that dies, stops or fails is known to all.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ranks/launch.h"

namespace zeroth {

// Something that must be the same on all ranks.
struct RankFact {
  std::string name;   // in words: "the config"
  std::string value;  // compared; shown, so short
};

struct RendezvousOptions {
  double timeout_s = 300;  // until all ranks have come
  double silence_s = 4;    // without a sign of life a rank counts as gone
  // Called once, from another thread, when a rank is gone or failed; `why` names it. The job is
  // over: nothing that waits for that rank will ever return.
  std::function<void(const std::string& why)> on_lost;
  // Called from the same thread when the process has not ended so many seconds later.
  double grace_s = 2;
  std::function<void(const std::string& why)> on_overdue;
  // Called from that thread some twenty times a second.
  std::function<void()> on_tick;
};

// Thread safe.
class Rendezvous {
 public:
  static constexpr int kAllRanks = -1;

  // Blocks until all ranks are there. Throws Error, on every rank that has come the same, when
  // ranks are missing (it names them), two have one number, facts differ (it names both values), or
  // the address is another program's.
  Rendezvous(const Launch& launch, const std::vector<RankFact>& facts,
             const RendezvousOptions& options);
  // Says goodbye; the others go on until they wait for this rank.
  ~Rendezvous();
  Rendezvous(const Rendezvous&) = delete;
  Rendezvous& operator=(const Rendezvous&) = delete;

  // A small value for all ranks, or for rank `to` alone; at most 64 KiB. Keys are set once.
  void set(const std::string& key, const std::string& value, int to = kAllRanks);
  // Waits for it. Throws Error when a rank is lost first or the timeout is over.
  std::string get(const std::string& key);
  // This machine's address on the network of rank 0.
  std::string address() const;
  // Tells the others that this process ends with an error. The first word counts.
  void fail(const std::string& message) noexcept;
  // Why the job is over; waits up to so many seconds for it. Empty when it is not.
  std::string lost(double wait_s = 0) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
