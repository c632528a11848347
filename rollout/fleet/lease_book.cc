#include "rollout/fleet/lease_book.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace zeroth::fleet {

WorkId LeaseBook::add(int samples) {
  const WorkId id = next_work_++;
  works_.emplace(id, Work{samples, State::kWaiting});
  waiting_.push_back(id);
  waiting_samples_ += samples;
  return id;
}

void LeaseBook::withdraw(WorkId id) {
  const auto found = works_.find(id);
  if (found == works_.end()) return;
  for (auto at = leases_.begin(); at != leases_.end();) {
    if (at->second.work == id) let_go(at->second);
    at = at->second.work == id ? leases_.erase(at) : std::next(at);
  }
  const Work& work = found->second;
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
  waiting_.clear();
  waiting_samples_ = done_ = lent_ = 0;
}

std::vector<LentLease> LeaseBook::lend(const std::string& worker, int64_t capacity, double now) {
  now = moved(now);
  std::vector<LentLease> out;
  while (!waiting_.empty()) {
    Work& work = works_.at(waiting_.front());
    if (!out.empty() && work.samples > capacity) break;
    const LeaseId id = next_lease_++;
    leases_.emplace(id, Lease{waiting_.front(), worker, 0, now + options_.lease_s, true});
    out.push_back({id, waiting_.front()});
    waiting_.pop_front();
    waiting_samples_ -= work.samples;
    capacity -= work.samples;
    held_[worker] += work.samples;
    work.state = State::kLent;
    ++lent_;
    ++ever_.issued;
    if (capacity <= 0) break;
  }
  return out;
}

ProgressAnswer LeaseBook::progress(LeaseId id, const std::string& worker, int64_t tokens,
                                   double now) {
  now = moved(now);
  const auto found = leases_.find(id);
  if (found == leases_.end() || found->second.worker != worker) return ProgressAnswer::kDrop;
  Lease& lease = found->second;
  if (!lease.active) return ProgressAnswer::kDrop;
  if (tokens <= lease.tokens) return ProgressAnswer::kUnchanged;
  lease.tokens = tokens;
  lease.deadline = now + options_.lease_s;
  return ProgressAnswer::kRenewed;
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
  let_go(lease);
  if (work.state == State::kDone) {
    ++ever_.duplicates;
    return ResultAnswer::kDuplicate;
  }
  // A lease that ran out counts all the same, when nobody was faster.
  if (work.state == State::kWaiting) {
    for (auto at = waiting_.begin(); at != waiting_.end(); ++at) {
      if (*at != lease.work) continue;
      waiting_.erase(at);
      break;
    }
    waiting_samples_ -= work.samples;
  } else {
    --lent_;
  }
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
void LeaseBook::let_go(Lease& lease) {
  if (!std::exchange(lease.active, false)) return;
  const auto held = held_.find(lease.worker);
  held->second -= works_.at(lease.work).samples;
  if (held->second == 0) held_.erase(held);
}

int64_t LeaseBook::held_samples(const std::string& worker) const {
  const auto found = held_.find(worker);
  return found == held_.end() ? 0 : found->second;
}

void LeaseBook::put_back(Lease& lease) {
  let_go(lease);
  Work& work = works_.at(lease.work);
  if (work.state != State::kLent) return;
  work.state = State::kWaiting;
  waiting_.push_front(lease.work);
  waiting_samples_ += work.samples;
  --lent_;
}

void LeaseBook::release(const std::string& worker) {
  // From the last one, so that what was lent first waits in front.
  for (auto at = leases_.rbegin(); at != leases_.rend(); ++at) {
    if (!at->second.active || at->second.worker != worker) continue;
    put_back(at->second);
    ++ever_.returned;
  }
}

std::vector<std::string> LeaseBook::expire(double now) {
  now = moved(now);
  std::vector<std::string> workers;
  for (auto at = leases_.rbegin(); at != leases_.rend(); ++at) {
    Lease& lease = at->second;
    if (!lease.active || lease.deadline > now) continue;
    put_back(lease);
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
  for (const auto& [id, lease] : leases_) {
    if (lease.active && lease.worker == worker)
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
