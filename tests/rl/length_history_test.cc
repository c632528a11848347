#include "rl/length_history.h"

#include <doctest/doctest.h>

#include <map>

#include "core/interrupted.h"
#include "model/formats/gguf_model.h"
#include "rl/evaluate.h"
#include "rl/rollouts.h"
#include "rollout/scripted_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

std::vector<Sample> samples_of(const std::vector<int>& lengths) {
  std::vector<Sample> samples(lengths.size());
  for (size_t i = 0; i < lengths.size(); ++i) {
    samples[i].tokens.assign(lengths[i], 5);
    samples[i].finish = FinishReason::kStop;
  }
  return samples;
}

// The run of tiny_run on so few problems that they come again soon.
RunConfig sums_run(const std::filesystem::path& folder, int problems) {
  RunConfig config = tiny_run(kTinyBase);
  const std::filesystem::path path = folder / "rows.jsonl";
  std::ofstream rows(path);
  for (int i = 0; i < problems; ++i) {
    rows << Json({{"question", std::to_string(i) + " + 1"}, {"answer", std::to_string(i + 1)}})
         << "\n";
  }
  config.task.name = "jsonl";
  config.task.options = {{"path", path.string()}, {"template", "bare"}, {"grader", "number"}};
  return config;
}

}  // namespace

TEST_CASE("the mean length of a problem's last samples is remembered, and saved") {
  LengthHistory history(4);
  CHECK(history.state().is_null());
  history.note(1, samples_of({2, 4, 9}));
  history.note(3, samples_of({7}));
  CHECK(history.expected(0) == 0);
  CHECK(history.expected(1) == 5);
  history.note(1, samples_of({1, 2}));
  CHECK(history.expected(1) == 1.5);
  auto cut = samples_of({8, 50});
  cut[1].finish = FinishReason::kAborted;
  history.note(1, cut);
  CHECK(history.expected(1) == 8);
  cut.erase(cut.begin());
  history.note(1, cut);
  CHECK(history.expected(1) == 8);

  LengthHistory smaller(2);
  smaller.note(0, samples_of({3}));
  smaller.restore(Json::parse(history.state().dump()));
  CHECK(smaller.expected(0) == 0);
  CHECK(smaller.expected(1) == 8);
  CHECK(smaller.expected(3) == 0);
  CHECK_THROWS_AS(smaller.restore({{"problems", {1}}}), nlohmann::json::exception);
  smaller.restore(nullptr);
  CHECK(smaller.expected(1) == 0);
}

TEST_CASE("of problems that do not come back soon nothing is remembered") {
  LengthHistory history(LengthHistory::kMost + 1);
  history.note(0, samples_of({3}));
  CHECK(history.expected(0) == 0);
  CHECK(history.state().is_null());
}

TEST_CASE("a problem that comes again is expected to be as long as it was") {
  const TemporaryFolder folder;
  const RunConfig config = sums_run(folder.path(), 12);
  const auto tokenizer = load_tokenizer(kTinyBase);
  const auto task = make_task(config.task.name, config.task.options);
  std::map<std::vector<TokenId>, double> lengths, told;
  ScriptedSampler sampler([&](const GenerationRequest& request, int index, const WeightsPtr&) {
    told[request.prompt] = request.expected_tokens;
    Sample sample;
    sample.tokens.assign(1 + (request.prompt.back() + index + request.step) % 9, 5);
    sample.finish = FinishReason::kStop;
    return sample;
  });
  Rollouts rollouts(config, *task, *tokenizer, sampler);
  int64_t draws = 0, again = 0;
  const auto step = [&](Rollouts& of, int64_t number) {
    const Rollout rollout = of.collect(number, draws);
    for (const Group& group : rollout.groups) {
      const auto found = lengths.find(group.prompt_tokens);
      CHECK(told.at(group.prompt_tokens) == (found == lengths.end() ? 0 : found->second));
      again += found != lengths.end();
    }
    for (const Group& group : rollout.groups) {
      double sum = 0;
      for (const Sample& sample : group.samples) sum += static_cast<double>(sample.tokens.size());
      lengths[group.prompt_tokens] =
          static_cast<float>(sum / static_cast<double>(group.samples.size()));
    }
  };
  for (int64_t number = 0; number < 12; ++number) step(rollouts, number);
  REQUIRE(again > 3);

  // A step that is given up leaves nothing behind, and a resumed run knows what this one does.
  const Json state = rollouts.lengths_state();
  const std::atomic<bool> stop{true};
  CHECK_THROWS_AS(rollouts.collect(12, draws, &stop), Interrupted);
  CHECK(rollouts.lengths_state() == state);
  rollouts.collect(12, draws);
  CHECK(rollouts.lengths_state() != state);
  rollouts.undo_collect(draws);
  CHECK(rollouts.lengths_state() == state);
  Rollouts resumed(config, *task, *tokenizer, sampler);
  resumed.restore_lengths(Json::parse(state.dump()));
  again = 0;
  for (int64_t number = 12; number < 16; ++number) step(resumed, number);
  CHECK(again > 3);
}

TEST_CASE("an evaluation that comes again expects what it saw") {
  const TemporaryFolder folder;
  const RunConfig config = sums_run(folder.path(), 60);
  const auto tokenizer = load_tokenizer(kTinyBase);
  const auto task = make_task(config.task.name, config.task.options);
  std::vector<double> told;
  ScriptedSampler sampler([&](const GenerationRequest& request, int, const WeightsPtr&) {
    told.push_back(request.expected_tokens);
    Sample sample;
    sample.tokens.assign(1 + request.problem % 7, 5);
    return sample;
  });
  EvalOptions options;
  options.n = 3;
  options.samples = 2;
  LengthHistory lengths(task->size(options.split));
  options.lengths = &lengths;
  evaluate(sampler, *tokenizer, *task, options);
  CHECK(told == std::vector<double>(6, 0.0));
  told.clear();
  evaluate(sampler, *tokenizer, *task, options);
  CHECK(told == std::vector<double>{1, 1, 2, 2, 3, 3});
}
