// The state of one LocalSampler::generate() call: requests, samples so far, and the rows that wait.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <vector>

#include "kernels/head.h"
#include "model/config.h"
#include "model/image_codes.h"
#include "policy/activation_store.h"
#include "rollout/completion_text.h"
#include "rollout/drafter.h"
#include "rollout/draw_batch.h"
#include "rollout/sampler.h"
#include "rollout/scheduler.h"
#include "text/tokenizer.h"

namespace zeroth {

// Not thread safe. The tokenizer must outlive it.
class Generation {
 public:
  // Checks every request; Errors name the request, the field, the value and the limit.
  Generation(const std::vector<GenerationRequest>& requests, const PolicyConfig& model,
             const Tokenizer* tokenizer, bool record_experts);

  // Pages that max_batch sequences of these requests can use at once.
  int64_t useful_pages(int max_batch) const;
  // Throws Error when a sequence cannot fit into `pages` pages by itself; `advice` ends the
  // message.
  void check_fits(int64_t pages, const std::string& advice) const;

  // Before start(): in which order requests begin, by their numbers, which outside they keep.
  void begin_in(const std::vector<size_t>& order);
  // Hands all sequences to the scheduler and makes room for their samples.
  // `drafter` (may be null; outlives it) makes the drafts of draft(), and hears of what ends.
  void start(Scheduler& scheduler, WeightsVersion version, Drafter* drafter = nullptr);
  // The same for one more request, after start(), which has number `number` outside. A sequence that
  // cannot fit into `pages` pages by itself is an Error, as in check_fits.
  void join(const GenerationRequest& request, size_t number, int64_t pages,
            const std::string& advice, Scheduler& scheduler, WeightsVersion version);
  // Samples that are not finished go on by weights of this version, their cache being void.
  void switch_to(WeightsVersion version, Scheduler& scheduler);
  // What finished samples hold is freed behind done().
  void forget_finished() { forget_ = true; }

  // Before plan(): gives the scheduler drafts for the next step.
  void draft(Scheduler& scheduler);

  // After record(): the token behind row `row` of the step (-1: not known), and whether it is the
  // newest of a sequence that goes on. Behind a prompt it is that of its first sample in the step.
  struct Follower {
    TokenId token = -1;
    bool newest = false;
  };
  Follower follower(const StepPlan& plan, size_t row) const;

  // Before the forward call of a step: takes a row of the store for every row that none was taken
  // for yet. rows [rows of the step], -1: not kept, or kept before a preemption.
  void take_rows(const StepPlan& plan, ActivationStore& store, std::vector<int32_t>& rows);

  // After the forward call of a step (hidden [rows, width], routing as of Weights::forward):
  // keeps the last rows of finished prompts, then lays out what has to be drawn.
  void gather(const StepPlan& plan, const kernels::Operators& ops, kernels::At<const float> hidden,
              const uint8_t* routing, DrawBatch& batch);
  // After the draws: which of them stand. A draw behind a draft that is not finite does not.
  static void settle(const StepPlan& plan, DrawBatch& batch);
  // Books the draws that stand; outcomes are for Scheduler::commit. Calls drew for each, and done for
  // each sample that finished (GenerateOptions).
  using Done = std::function<void(int request, int sample, const Sample&)>;
  using Drew = std::function<bool(int request, int sample, const Sample&)>;
  void record(const StepPlan& plan, const DrawBatch& batch, const uint8_t* routing,
              std::vector<Outcome>& outcomes, const Done& done, const Drew& drew);
  // Marks what has not finished as aborted.
  void abort();

  size_t requests() const { return requests_.size(); }
  std::vector<std::vector<Sample>> take() { return by_number(samples_); }
  // By request and sample, as take(); empty where a row was not kept.
  Tickets take_tickets() { return by_number(tickets_); }

 private:
  struct PromptRow {
    kernels::Array<float> hidden;
    std::vector<uint8_t> routing;
    std::vector<uint8_t> experts;  // Sample::prompt_experts
    std::vector<int32_t> kept;     // of all its rows, in the activation store
  };
  struct Live {
    int request, sample;
    bool finished = false;
    CompletionText text;
    std::vector<int32_t> kept = {};  // rows of its own tokens
  };

  void take_in(const GenerationRequest& request, size_t number);
  int number_of(int request) const { return static_cast<int>(numbers_[request]); }
  template <class T>
  std::vector<T> by_number(std::vector<T>& list) const {
    std::vector<T> out(list.size());
    for (size_t i = 0; i < list.size(); ++i) out[numbers_[i]] = std::move(list[i]);
    return out;
  }
  void check_fit(size_t index, int64_t pages, const std::string& advice) const;
  void start_one(size_t index, Scheduler& scheduler, WeightsVersion version);
  void go_on(const Sample& begun, Live& live, int sequence, Scheduler& scheduler);
  void forget(const Live& live);
  bool append(Live& live, const DrawBatch& batch, size_t row, const uint8_t* routing);
  void finish(Live& live, FinishReason reason);
  void keep_prompt_experts(const StepPlan& plan, const uint8_t* routing);
  void give_back_rows(Live& live);
  Drafter::Live live_of(int sequence) const;

  // In the order in which they begin, as all that is by request here.
  std::deque<GenerationRequest> requests_;  // the scheduler reads their prompts
  std::vector<size_t> numbers_;             // outside
  const PolicyConfig& model_;
  const ImageCodes codes_;
  const Tokenizer* tokenizer_;
  size_t expert_row_ = 0;        // bytes of routed ids per token; 0: not recorded
  size_t routing_row_ = 0;       // of ids and confidences
  std::vector<int> max_tokens_;  // per request, cut at the context length
  std::vector<kernels::SampleParams> params_;
  std::deque<StopStrings> stops_;
  std::vector<int> unfinished_;  // samples of each request
  Drafter* drafter_ = nullptr;
  bool forget_ = false;
  int64_t epoch_ = 0;                // of the activation store
  std::vector<int32_t> spare_rows_;  // of it, taken for drafts that did not come true
  std::vector<PromptRow> prompt_rows_;
  std::vector<Live> live_;  // by the scheduler's sequence index
  std::vector<std::vector<Sample>> samples_;
  Tickets tickets_;
};

}  // namespace zeroth
