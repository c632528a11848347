// Rollouts ahead of their training: where the steps of a run get their groups from.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "policy/weights.h"
#include "rl/rollouts.h"
#include "rollout/sampler.h"

namespace zeroth {

// The methods are for one thread. While something is sampled, rollouts and sampler belong to the
// pipeline: drain() first.
class RolloutPipeline {
 public:
  virtual ~RolloutPipeline() = default;

  // `step` begins with these weights: they sample what is due.
  virtual void begin(int64_t step, const WeightsPtr& weights) = 0;
  // The step's rollout; waits for it. Throws Interrupted when stop becomes true before it is there;
  // nothing is lost then.
  virtual Rollout take(int64_t step, const std::atomic<bool>* stop) = 0;
  // As if it had not been taken: the step was not made.
  virtual void put_back(int64_t step, Rollout rollout) = 0;
  // Waits until nothing is being sampled; nothing is before the next begin().
  virtual void drain() = 0;
  // Whether steps may get samples of earlier weights.
  virtual bool lagged() const = 0;
  // How old tokens of a version of the weights are in a step that began with version `now`.
  virtual int64_t staleness(int64_t step, WeightsVersion now, WeightsVersion version) const = 0;
  // Groups that were sampled and thrown away for their age.
  virtual int64_t discarded() const { return 0; }

  // For checkpoints, drained: problems drawn so far, and what is sampled and not taken.
  virtual int64_t draws() const = 0;
  virtual std::string pending() const = 0;
  // Of a checkpoint before `step`. Throws Error that names `source` for what pending() has not made.
  virtual void restore(int64_t step, int64_t draws, const std::string& pending,
                       const std::string& source) = 0;
};

// Step k is trained on what the weights of step k - lag sampled.
//
// Sampling and grading of later steps run on a thread of their own while a step is updated. Which
// weights a group saw depends on the lag only, so the bytes of a run do too; a checkpoint keeps what
// is sampled and not trained on yet.
class StepPipeline : public RolloutPipeline {
 public:
  // Both must outlive it. `steps`: of the run; nothing is sampled for later ones.
  StepPipeline(Rollouts& rollouts, Sampler& sampler, int lag, int64_t steps);
  ~StepPipeline() override;  // what is being sampled is given up
  StepPipeline(const StepPipeline&) = delete;
  StepPipeline& operator=(const StepPipeline&) = delete;

  void begin(int64_t step, const WeightsPtr& weights) override;  // a lag of 0 samples in take()
  Rollout take(int64_t step, const std::atomic<bool>* stop) override;
  void put_back(int64_t step, Rollout rollout) override;
  void drain() override;
  bool lagged() const override { return lag_ > 0; }
  // In versions: updates between the two.
  int64_t staleness(int64_t, WeightsVersion now, WeightsVersion version) const override {
    return now - version;
  }

  int64_t draws() const override { return draws_; }
  std::string pending() const override;
  void restore(int64_t step, int64_t draws, const std::string& pending,
               const std::string& source) override;

 private:
  struct Job {
    int64_t step;
    WeightsPtr weights;
  };
  void work();
  bool idle() const { return jobs_.empty() && !busy_; }

  Rollouts& rollouts_;
  Sampler& sampler_;
  const int lag_;
  const int64_t steps_;
  int64_t draws_ = 0;  // by the thread that samples
  std::atomic<bool> stop_{false};
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool busy_ = false;
  int64_t asked_ = -1;  // the last step that was ever asked for
  std::map<int64_t, Rollout> ready_;
  std::exception_ptr error_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace zeroth
