// Evaluation stands on any sampler, and grades by the rubric of training.
#include "rl/evaluate.h"

#include <doctest/doctest.h>

#include <string>
#include <thread>
#include <vector>

#include "model/formats/gguf_model.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "rollout/scripted_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

// Any text that begins with "y" is right.
class Yes : public Task {
 public:
  std::string name() const override { return "yes"; }
  int64_t size(Split) const override { return 10; }
  Problem problem(Split, int64_t index) const override {
    return {name(), std::to_string(index), "say yes:", "", {}};
  }
  std::vector<Verdict> grade(const Problem&, std::string_view completion,
                             FinishReason) const override {
    Verdict verdict;
    verdict.name = "accuracy";
    verdict.score = completion.starts_with("y") ? 1 : 0;
    verdict.reason = verdict.score > 0 ? Reason::kCorrect : Reason::kWrong;
    return {verdict};
  }
  std::string gold_completion(const Problem&) const override { return "y"; }
};

// Sample i of problem p has 4 + i tokens and is right when p + i is even.
Sample script(const GenerationRequest& request, int index, const WeightsPtr&) {
  Sample sample;
  sample.tokens.assign(static_cast<size_t>(4 + index), 65);
  sample.text = (request.problem + index) % 2 == 0 ? "yes" : "no";
  return sample;
}

}  // namespace

TEST_CASE("an evaluation grades what a sampler says by the rubric") {
  ScriptedSampler sampler(script);
  const auto tokenizer = load_tokenizer(kTinyBase);
  EvalOptions options;
  options.n = 6;
  options.samples = 4;
  options.sampling.max_tokens = 8;
  std::vector<Group> groups;
  options.on_group = [&](const Group& group) { groups.push_back(group); };
  const EvalReport plain = evaluate(sampler, *tokenizer, Yes(), options);
  CHECK(plain.pass_at_1 == 0.5);
  CHECK(plain.pass_at_K == 1);
  CHECK(plain.mean_length == 5.5);
  REQUIRE(groups.size() == 6);
  CHECK(groups[0].samples[0].reward == 1);
  CHECK(groups[0].samples[0].verdicts.size() == 1);

  groups.clear();
  options.rubric.max_tokens = 8;
  options.rubric.overlong.buffer = 4;
  options.rubric.shaping.kimi_length_weight = 2;
  const EvalReport shaped = evaluate(sampler, *tokenizer, Yes(), options);
  CHECK(shaped.pass_at_1 == plain.pass_at_1);  // accuracy is the task's
  const Sample& shortest = groups[0].samples[0];
  REQUIRE(shortest.verdicts.size() == 3);
  CHECK(shortest.verdicts[1].name == "overlong");
  CHECK(shortest.verdicts[2].name == "kimi_length");
  CHECK(shortest.reward == 1 + 0 + 2 * 0.5);
  CHECK(groups[1].samples[3].reward == 1 - 0.75 + 2 * -0.5);
}

TEST_CASE("a stop ends an evaluation between samples") {
  std::atomic<bool> stop{false};
  int asked = 0;
  ScriptedSampler sampler([&](const GenerationRequest& request, int index, const WeightsPtr& w) {
    if (++asked == 5) stop = true;
    return script(request, index, w);
  });
  EvalOptions options;
  options.samples = 2;
  options.stop = &stop;
  CHECK_THROWS_AS(evaluate(sampler, *load_tokenizer(kTinyBase), Yes(), options), Error);
  CHECK(asked == 5);
}

TEST_CASE("a version is evaluated while the next ones train and are published") {
  const auto tokenizer = load_tokenizer(kTinyBase);
  const auto policy = tiny_policy();
  EvalOptions options;
  options.n = 8;
  options.samples = 3;
  options.sampling.max_tokens = 24;
  // Every token and log-prob of an evaluation of what `sampler` has.
  using Drawn = std::vector<std::pair<std::vector<TokenId>, std::vector<float>>>;
  const auto evaluated = [&](Sampler& sampler) {
    Drawn drawn;
    EvalOptions own = options;
    own.on_group = [&](const Group& group) {
      for (const Sample& sample : group.samples) drawn.emplace_back(sample.tokens, sample.logprobs);
    };
    evaluate(sampler, *tokenizer, Yes(), own);
    return drawn;
  };
  LocalSampler held(policy->weights(), tokenizer.get(), {});
  const Drawn before = evaluated(held);
  REQUIRE(before.size() == 24);

  std::vector<Group> groups(2);
  for (Group& group : groups) {
    group.prompt_tokens = {65, 66, 67};
    group.samples.resize(2);
    for (size_t i = 0; i < 2; ++i) {
      group.samples[i].tokens = {70, 71, static_cast<TokenId>(72 + i)};
      group.samples[i].logprobs = {-5, -5, -5};
      group.samples[i].advantage = i == 0 ? 1 : -1;
    }
  }
  OptimizerConfig optimizer;
  optimizer.lr = 1e-2;
  Trainer trainer(*policy, nullptr, {}, {}, optimizer, 9, 1000, 24, 1);
  std::atomic<bool> done{false};
  std::atomic<int> evaluations{0}, wrong{0};
  std::thread evaluator([&] {
    while (!done || evaluations < 2) {
      wrong += evaluated(held) != before;
      ++evaluations;
    }
  });
  int64_t step = 0;
  for (; step < 8 || evaluations < 2; ++step) trainer.update(groups, step);
  done = true;
  evaluator.join();
  CHECK(wrong == 0);
  // It trained, and it can fail: what was published last draws other tokens.
  CHECK(policy->weights()->version() > 0);
  LocalSampler newest(policy->weights(), tokenizer.get(), {});
  CHECK(evaluated(newest) != before);
}
