#include "rollout/fleet/lease_book.h"

#include <algorithm>
#include <utility>

namespace zeroth::fleet {

WorkId LeaseBook::add(int samples) {
  const WorkId id = next_work_++;
  works_.emplace(id, Work{samples, State::kWaiting, {}});
  waiting_.push_back(id);
  waiting_samples_ += samples;
  return id;
}

void LeaseBook::withdraw(WorkId id) {
  const auto found = works_.find(id);
  if (found == works_.end()) return;
  const Work& work = found->second;
  for (const LeaseId lease : work.leases) {
    let_go(lease, leases_.at(lease));
    leases_.erase(lease);
  }
  if (work.state == State::kWaiting) {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), id));
    waiting_samples_ -= work.samples;
  }
  done_ -= work.state == State::kDone;
  lent_ -= work.state == State::kLent;
  works_.erase(found);
}

void LeaseBook::withdraw_all() {
  works_.clear();
  leases_.clear();
  held_.clear();
  deadlines_.clear();
  waiting_.clear();
  waiting_samples_ = done_ = lent_ = 0;
}

std::vector<LentLease> LeaseBook::lend(const std::string& worker, int64_t capacity, double now) {
  now = moved(now);
  std::vector<LentLease> out;
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    const WorkId piece = *at;
    Work& work = works_.at(piece);
    if (!out.empty() && work.samples > capacity) break;
    if (works_on(work, worker)) {
      ++at;
      continue;
    }
    const LeaseId id = next_lease_++;
    work.leases.push_back(id);
    const Lease lease{piece, worker, 0, now + options_.lease_s, 0, false};
    hold(id, leases_.emplace(id, lease).first->second);
    deadlines_.insert({lease.deadline, id});
    at = waiting_.erase(at);
    take_up(work);
    out.push_back({id, piece});
    capacity -= work.samples;
    ++ever_.issued;
    if (capacity <= 0) break;
  }
  return out;
}

// Whether the worker said lately that it has the piece, under a lease that ran out.
bool LeaseBook::works_on(const Work& work, const std::string& worker) const {
  return std::any_of(work.leases.begin(), work.leases.end(), [&](LeaseId id) {
    const Lease& lease = leases_.at(id);
    return lease.worker == worker && lease.reported > 0 && now_ < lease.reported + options_.lease_s;
  });
}

ProgressAnswer LeaseBook::progress(LeaseId id, const std::string& worker, int64_t tokens,
                                   double now) {
  now = moved(now);
  const auto found = leases_.find(id);
  if (found == leases_.end() || found->second.worker != worker) return ProgressAnswer::kDrop;
  Lease& lease = found->second;
  Work& work = works_.at(lease.work);
  if (work.state == State::kDone) {  // somebody was faster
    let_go(id, lease);
    return ProgressAnswer::kDrop;
  }
  lease.reported = now;
  if (tokens <= lease.tokens) return ProgressAnswer::kUnchanged;
  lease.tokens = tokens;
  if (!lease.active && work.state == State::kLent) return ProgressAnswer::kUnchanged;
  if (lease.active) {
    deadlines_.erase({lease.deadline, id});
  } else {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), lease.work));
    take_up(work);
    hold(id, lease);
  }
  lease.deadline = now + options_.lease_s;
  deadlines_.insert({lease.deadline, id});
  return ProgressAnswer::kRenewed;
}

// A piece that waited, and was taken out of the queue, is worked on or done.
void LeaseBook::take_up(Work& work) {
  waiting_samples_ -= work.samples;
  work.state = State::kLent;
  ++lent_;
}

void LeaseBook::hold(LeaseId id, Lease& lease) {
  lease.active = true;
  Holder& holder = held_[lease.worker];
  holder.samples += works_.at(lease.work).samples;
  holder.leases.insert(id);
}

ResultAnswer LeaseBook::complete(LeaseId id, const std::string& worker, double now) {
  moved(now);
  const auto found = leases_.find(id);
  if (found == leases_.end()) {
    ++ever_.refused;
    return ResultAnswer::kUnknown;
  }
  Lease& lease = found->second;
  if (lease.worker != worker) {
    ++ever_.refused;
    return ResultAnswer::kNotYours;
  }
  Work& work = works_.at(lease.work);
  let_go(id, lease);
  if (work.state == State::kDone) {
    ++ever_.duplicates;
    return ResultAnswer::kDuplicate;
  }
  // A lease that ran out counts all the same, when nobody was faster.
  if (work.state == State::kWaiting) {
    waiting_.erase(std::find(waiting_.begin(), waiting_.end(), lease.work));
    take_up(work);
  }
  --lent_;
  work.state = State::kDone;
  ++done_;
  return ResultAnswer::kFirst;
}

void LeaseBook::reopen(WorkId id) {
  const auto found = works_.find(id);
  if (found == works_.end() || found->second.state != State::kDone) return;
  found->second.state = State::kWaiting;
  waiting_.push_front(id);
  waiting_samples_ += found->second.samples;
  --done_;
}

// The worker holds it no more.
void LeaseBook::let_go(LeaseId id, Lease& lease) {
  if (!std::exchange(lease.active, false)) return;
  deadlines_.erase({lease.deadline, id});
  const auto held = held_.find(lease.worker);
  held->second.samples -= works_.at(lease.work).samples;
  held->second.leases.erase(id);
  if (held->second.leases.empty()) held_.erase(held);
}

int64_t LeaseBook::held_samples(const std::string& worker) const {
  const auto found = held_.find(worker);
  return found == held_.end() ? 0 : found->second.samples;
}

void LeaseBook::put_back(LeaseId id, Lease& lease) {
  let_go(id, lease);
  Work& work = works_.at(lease.work);
  if (work.state != State::kLent) return;
  work.state = State::kWaiting;
  waiting_.push_front(lease.work);
  waiting_samples_ += work.samples;
  --lent_;
}

void LeaseBook::release(const std::string& worker) {
  const auto held = held_.find(worker);
  if (held == held_.end()) return;
  // From the last one, so that what was lent first waits in front.
  const std::vector<LeaseId> ids(held->second.leases.rbegin(), held->second.leases.rend());
  for (const LeaseId id : ids) {
    put_back(id, leases_.at(id));
    ++ever_.returned;
  }
}

std::vector<std::string> LeaseBook::expire(double now) {
  now = moved(now);
  std::vector<LeaseId> ids;
  for (const auto& [deadline, id] : deadlines_) {
    if (deadline > now) break;
    ids.push_back(id);
  }
  std::sort(ids.rbegin(), ids.rend());
  std::vector<std::string> workers;
  for (const LeaseId id : ids) {
    Lease& lease = leases_.at(id);
    put_back(id, lease);
    ++ever_.expired;
    workers.push_back(lease.worker);
  }
  return workers;
}

std::optional<WorkId> LeaseBook::work_of(LeaseId lease) const {
  const auto found = leases_.find(lease);
  if (found == leases_.end()) return std::nullopt;
  return found->second.work;
}

std::vector<LeaseBook::Held> LeaseBook::held_by(const std::string& worker) const {
  std::vector<Held> out;
  const auto held = held_.find(worker);
  if (held == held_.end()) return out;
  for (const LeaseId id : held->second.leases) {
    const Lease& lease = leases_.at(id);
    out.push_back({id, lease.work, lease.tokens, lease.deadline});
  }
  return out;
}

LeaseCounts LeaseBook::counts() const {
  LeaseCounts out = ever_;
  out.waiting = static_cast<int64_t>(waiting_.size());
  out.lent = lent_;
  out.done = done_;
  return out;
}

}  // namespace zeroth::fleet
