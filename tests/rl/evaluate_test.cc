// Evaluation stands on any sampler, and grades by the rubric of training.
#include "rl/evaluate.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "model/formats/gguf_model.h"
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
