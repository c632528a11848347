// async.max_staleness = K: groups are sampled all the time, and step k trains on those that came
// first among groups whose weights are of steps k - K to k (rl/admission.h).
//
// A thread samples, another draws problems and grades. What a step takes goes to the journal before
// its update; what it holds is made again: all in a replay, else what is behind the checkpoint.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "rl/admission.h"
#include "rl/journal.h"
#include "rl/rollout_pipeline.h"

namespace zeroth {
struct ElasticOptions {
  std::filesystem::path journal;  // of the run
  std::filesystem::path replay;   // journal of another run, made again from step 0; empty: none
  // Samples to be drawn together at most, but for one group; 0 = no bound.
  int64_t most_in_flight = 0;
  // A sampler in this process, for groups that are drawn again.
  std::function<std::unique_ptr<Sampler>(WeightsPtr)> local;
};

class ElasticPipeline : public RolloutPipeline {
 public:
  // Throws Error for a journal that is damaged, or ends before `step`.
  static void check_journal(const std::filesystem::path& journal, int64_t step);
  // All of them must outlive it. Throws Error for a journal that is damaged.
  ElasticPipeline(Rollouts& rollouts, Sampler& sampler, const RunConfig& config,
                  ElasticOptions options);
  ~ElasticPipeline() override;  // what is being sampled is given up
  void begin(int64_t step, const WeightsPtr& weights) override;
  Rollout take(int64_t step, const std::atomic<bool>* stop) override;
  void put_back(int64_t step, Rollout rollout) override;
  // When `stop` of the last take() is set, what is being sampled is given up; it is drawn again.
  void drain() override;
  bool lagged() const override { return true; }
  int64_t staleness(int64_t step, WeightsVersion now, WeightsVersion version) const override;
  // Groups that were sampled and will not be trained on although they had a signal: 0.
  int64_t discarded() const override;
  int64_t draws() const override { return draws_; }
  std::string pending() const override;
  // Without `pending` the run was not elastic until then; an older journal of it is renamed.
  void restore(int64_t step, int64_t draws, const std::string& pending,
               const std::string& source) override;
  // The journal's steps behind the checkpoint go to the folder `aside`: the run was changed.
  void forget_recorded(const std::filesystem::path& aside);
  int64_t replayed_steps() const { return replayed_steps_; }

 private:
  struct Entry {  // a problem on its way from its draw to a step
    Group group;
    int64_t draw = 0, problem = 0, due = 0;  // due: the last step that may train on it
    std::vector<int64_t> skipped;
    int missing = 0;  // samples that are not there yet
  };
  using Lock = std::unique_lock<std::mutex>;

  void sample();  // the threads: this one and the next
  void errands();
  bool may_admit() const;  // holding mutex_, as those that follow
  bool may_draw() const;
  int64_t out() const;  // groups in training, there, or on their way
  std::vector<GenerationRequest> admit(WeightsVersion version);
  void arrived(int request, int index, const Sample& sample);
  void grade(Lock& lock);
  void draw(Lock& lock);
  GenerationRequest request_of(const Entry& entry) const;
  std::vector<int64_t> taken_problems() const;
  int64_t step_of(WeightsVersion version) const;
  int64_t due_of(const Group& group) const;
  void reopen(const Entry& entry);
  void drop_constant();
  bool try_take(int64_t step, std::vector<Entry>& entries);
  void give_up();
  void scan_replayed();
  void load_journal(int64_t step);
  void begin_journal(int64_t step);
  void read_ahead();
  // Writes down what the step takes: batch_ entries to train on, then those that were dropped.
  void journal(const JournalStep& record);
  JournalStep describe(int64_t step, const std::vector<Entry>& entries) const;
  Rollout settle(std::vector<Entry> entries);
  bool replays(int64_t step) const { return !recorded_.empty() && recorded_[0].step == step; }
  Rollout take_recorded(const std::atomic<bool>* stop);
  std::vector<Entry> draw_again(const JournalStep& record, const std::atomic<bool>* stop);
  Entry prepare_again(const JournalStep& record, const JournalGroup& recorded,
                      const std::atomic<bool>* stop);
  void sample_again(const JournalStep& record, const std::vector<size_t>& missing,
                    std::vector<Entry>& entries, const std::atomic<bool>* stop);
  void read_pending(const std::string& pending, const std::string& source);
  WeightsPtr kept(WeightsVersion version) const;
  Rollouts& rollouts_;
  Sampler& sampler_;
  const int batch_, samples_, most_staleness_;
  const int64_t most_dropped_;  // groups without signal that a step replaces
  const bool switches_;
  const int64_t steps_;
  const ElasticOptions options_;
  std::unique_ptr<JournalWriter> journal_;
  std::unique_ptr<JournalReader> reader_;
  int64_t journalled_ = 0;            // steps before it are in the run's journal
  uint64_t tail_bytes_ = 0;           // of the journal before the checkpoint's step, ...
  std::string tail_chain_;            // ... and its chain
  std::deque<JournalStep> recorded_;  // the next steps to be made again
  JournalStep last_record_;           // of the last take()
  int64_t replayed_steps_ = 0;
  std::map<WeightsVersion, WeightsPtr> kept_;  // while steps are made again
  std::unique_ptr<Sampler> local_;
  int64_t draws_ = 0;  // that steps have used
  std::atomic<bool> stop_{false}, cancel_{false};
  const std::atomic<bool>* asked_ = nullptr;  // of the last take()
  mutable std::mutex mutex_;                  // guards what follows
  std::condition_variable changed_;
  int64_t now_ = 0;
  std::map<WeightsVersion, int64_t> begun_;  // the last step that began with a version
  bool paused_ = true, sampling_ = false, drawing_ = false;
  SamplerStats worked_, worked_before_;  // of the sampler, and that at the last take()
  int64_t training_ = 0, flying_ = 0;    // groups; samples that are being drawn
  int64_t admitted_ = 0, settled_ = 0;   // groups, ever
  std::vector<int64_t> grading_;         // when the groups that are being graded are due
  std::vector<int64_t> skipping_;        // draws left out since the last one that was not
  std::deque<Entry> drawn_;              // not being sampled yet
  int requests_ = 0;                     // of the running generate()
  std::map<int, Entry> flights_;         // by the number of their request
  std::deque<Entry> complete_;           // not graded yet
  std::deque<Entry> ready_;              // in the order in which they came
  std::vector<Entry> dropped_;           // without signal, by the step that waits
  std::vector<Entry> last_;              // what the last step took, without its samples
  DrawNumbers used_;                     // by steps
  DrawNumbers handed_;                   // by steps and whatever is on its way
  Pace pace_;
  std::exception_ptr error_;
  std::thread sampler_thread_, errand_thread_;  // last: they use all of the above
};

}  // namespace zeroth
