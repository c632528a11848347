// Who works on what until when. Pure bookkeeping: the clock is an argument, nothing is sent.
//
// Work is a piece of a group that any worker makes alike. A lease lends it to one worker until a
// deadline, which new tokens move and being alive does not. A lease that runs out is lent again;
// the first complete result of a piece counts, whoever had it last.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace zeroth::fleet {

using WorkId = int64_t;
using LeaseId = int64_t;

struct LeaseOptions {
  double lease_s = 30;  // without progress
};

struct LentLease {
  LeaseId lease = 0;
  WorkId work = 0;
};

enum class ProgressAnswer { kRenewed, kUnchanged, kDrop };
enum class ResultAnswer {
  kFirst,      // it counts now
  kDuplicate,  // another one counts; compare
  kNotYours,   // the lease was given to another worker
  kUnknown     // no such lease, or its work was withdrawn
};

struct LeaseCounts {
  int64_t waiting = 0, lent = 0, done = 0;                        // pieces of work
  int64_t issued = 0, expired = 0, returned = 0, duplicates = 0;  // leases, ever
  int64_t refused = 0;                                            // results of no lease
};

// Not thread safe. Times are seconds of any steady clock; one that goes back counts as standing
// still.
class LeaseBook {
 public:
  explicit LeaseBook(const LeaseOptions& options) : options_(options) {}

  // A piece of `samples` samples; lent in the order of add().
  WorkId add(int samples);
  // Forgets a piece and its leases; unknown ones are passed over.
  void withdraw(WorkId work);
  // Forgets all work and all leases; ids are never used twice.
  void withdraw_all();

  // Lends pieces of at most `capacity` samples together, but at least one piece when any waits.
  // Pieces whose first lease runs out come first.
  std::vector<LentLease> lend(const std::string& worker, int64_t capacity, double now);
  // `tokens`: drawn so far under this lease. One that ran out is not dropped for that: with new
  // tokens it is taken up again when nobody else has the piece, and goes on beside another one, so
  // that slow workers finish something; nor is the piece lent to the same worker once more, unless
  // that has not spoken of it for lease_s.
  ProgressAnswer progress(LeaseId lease, const std::string& worker, int64_t tokens, double now);
  ResultAnswer complete(LeaseId lease, const std::string& worker, double now);
  // The result of a piece is void (it was false): the piece waits again.
  void reopen(WorkId work);
  // A worker gives back or loses what it holds.
  void release(const std::string& worker);
  // Leases that ran out by now; their work waits again. Returns the workers, one entry a lease.
  std::vector<std::string> expire(double now);

  std::optional<WorkId> work_of(LeaseId lease) const;
  // Leases that a worker holds now, with their deadlines.
  struct Held {
    LeaseId lease;
    WorkId work;
    int64_t tokens;
    double deadline;
  };
  std::vector<Held> held_by(const std::string& worker) const;
  int64_t held_samples(const std::string& worker) const;
  int64_t waiting_samples() const { return waiting_samples_; }
  bool all_done() const { return done_ == static_cast<int64_t>(works_.size()); }
  LeaseCounts counts() const;

 private:
  enum class State { kWaiting, kLent, kDone };
  struct Work {
    int samples = 0;
    State state = State::kWaiting;
    std::vector<LeaseId> leases = {};  // all that there were
  };
  struct Lease {
    WorkId work = 0;
    std::string worker;
    int64_t tokens = 0;
    double deadline = 0;
    double reported = 0;  // when its worker last spoke of it; 0: never
    bool active = false;  // it has not run out, nor was it given back or completed
  };
  double moved(double now) { return now_ = now > now_ ? now : now_; }
  void take_up(Work& work);
  bool works_on(const Work& work, const std::string& worker) const;
  void hold(LeaseId id, Lease& lease);
  void let_go(LeaseId id, Lease& lease);
  void put_back(LeaseId id, Lease& lease);

  LeaseOptions options_;
  double now_ = 0;
  WorkId next_work_ = 1;
  LeaseId next_lease_ = 1;
  std::map<WorkId, Work> works_;
  std::deque<WorkId> waiting_;
  std::map<LeaseId, Lease> leases_;
  // Of active leases, so that nothing takes longer for those that have ended.
  struct Holder {
    int64_t samples = 0;
    std::set<LeaseId> leases;
  };
  std::unordered_map<std::string, Holder> held_;  // by worker
  std::set<std::pair<double, LeaseId>> deadlines_;
  int64_t waiting_samples_ = 0, done_ = 0, lent_ = 0;
  LeaseCounts ever_;
};

}  // namespace zeroth::fleet
