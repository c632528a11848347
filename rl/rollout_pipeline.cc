#include "rl/rollout_pipeline.h"

#include <algorithm>
#include <chrono>

#include "core/interrupted.h"
#include "rl/rollout_codec.h"

namespace zeroth {

StepPipeline::StepPipeline(Rollouts& rollouts, Sampler& sampler, int lag, int64_t steps)
    : rollouts_(rollouts), sampler_(sampler), lag_(lag), steps_(steps) {
  if (lag_ > 0) thread_ = std::thread([this] { work(); });
}

StepPipeline::~StepPipeline() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void StepPipeline::begin(int64_t step, const WeightsPtr& weights) {
  if (lag_ == 0) return;
  std::lock_guard lock(mutex_);
  // The first steps, and those of a run that goes on behind its end, have no earlier weights.
  for (int64_t s = std::max(step, asked_ + 1); s <= std::min(step + lag_, steps_ - 1); ++s) {
    jobs_.push_back({s, weights});
    asked_ = s;
  }
  changed_.notify_all();
}

void StepPipeline::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return stop_ || (!jobs_.empty() && !error_); });
    if (stop_) return;
    Job job = std::move(jobs_.front());
    jobs_.pop_front();
    busy_ = true;
    lock.unlock();
    Rollout rollout;
    std::exception_ptr error;
    try {
      sampler_.publish(std::move(job.weights));
      rollout = rollouts_.collect(job.step, draws_, &stop_);
      rollout.draws = draws_;
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    busy_ = false;
    if (error) error_ = error;
    if (!error) ready_[job.step] = std::move(rollout);
    changed_.notify_all();
  }
}

Rollout StepPipeline::take(int64_t step, const std::atomic<bool>* stop) {
  if (lag_ == 0) {
    Rollout rollout = rollouts_.collect(step, draws_, stop);
    rollout.draws = draws_;
    return rollout;
  }
  std::unique_lock lock(mutex_);
  while (ready_.count(step) == 0) {
    if (error_) std::rethrow_exception(error_);
    check_stop(stop, "sampling");
    changed_.wait_for(lock, std::chrono::milliseconds(50));
  }
  Rollout rollout = std::move(ready_.at(step));
  ready_.erase(step);
  return rollout;
}

void StepPipeline::put_back(int64_t step, Rollout rollout) {
  if (lag_ == 0) return rollouts_.undo_collect(draws_);
  std::lock_guard lock(mutex_);
  ready_[step] = std::move(rollout);
}

void StepPipeline::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return idle() || error_; });
  if (error_) std::rethrow_exception(error_);
}

std::string StepPipeline::pending() const { return pack_rollouts(ready_); }

void StepPipeline::restore(int64_t, int64_t draws, const std::string& pending,
                           const std::string& source) {
  draws_ = draws;
  if (pending.empty()) return;
  ready_ = unpack_rollouts(pending, source);
  if (!ready_.empty()) asked_ = ready_.rbegin()->first;
}

}  // namespace zeroth
