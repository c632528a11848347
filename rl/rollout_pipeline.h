// Rollouts ahead of their training: step k is trained on what the weights of step k - lag sampled.
//
// Sampling and grading of later steps run on a thread of their own while a step is updated. Which
// weights a group saw depends on the lag only, so the bytes of a run do too; a checkpoint keeps what
// is sampled and not trained on yet.
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
  // Both must outlive it. `steps`: of the run; nothing is sampled for later ones.
  RolloutPipeline(Rollouts& rollouts, Sampler& sampler, int lag, int64_t steps);
  ~RolloutPipeline();  // what is being sampled is given up
  RolloutPipeline(const RolloutPipeline&) = delete;
  RolloutPipeline& operator=(const RolloutPipeline&) = delete;

  // `step` begins with these weights: they sample what is due (with a lag of 0 in take()).
  void begin(int64_t step, const WeightsPtr& weights);
  // The step's rollout; waits for it. Throws Interrupted when stop becomes true before it is there;
  // nothing is lost then.
  Rollout take(int64_t step, const std::atomic<bool>* stop);
  // As if it had not been taken: the step was not made.
  void put_back(int64_t step, Rollout rollout);
  // Waits until nothing is being sampled.
  void drain();
  bool lagged() const { return lag_ > 0; }

  // For checkpoints, drained: problems drawn so far, and what is sampled and not taken.
  int64_t draws() const { return draws_; }
  std::string pending() const;
  void restore(int64_t draws, const std::string& pending, const std::string& source);

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
