#include "rl/rollouts.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "rl/metrics.h"
#include "rollout/local_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

// Problem i of 40; every third one can be told apart by its samples, the others grade all alike.
class EveryThird : public Task {
 public:
  std::string name() const override { return "every_third"; }
  int64_t size(Split) const override { return 40; }
  Problem problem(Split, int64_t index) const override {
    return {name(), std::to_string(index), "problem " + std::to_string(index) + "=", "", {}};
  }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason) const override {
    Verdict verdict;
    verdict.name = "accuracy";
    const bool varied = std::stoi(problem.id) % 3 == 0;
    verdict.score = varied && !completion.empty() && completion[0] % 2 == 0 ? 1 : 0;
    verdict.reason = verdict.score > 0 ? Reason::kCorrect : Reason::kWrong;
    verdict.info = {{"length", completion.size()}, {"note", "text"}};
    return {verdict};
  }
  std::string gold_completion(const Problem&) const override { return "@"; }
};

class Broken : public EveryThird {
 public:
  std::vector<Verdict> grade(const Problem&, std::string_view completion,
                             FinishReason) const override {
    Verdict verdict;
    verdict.name = "accuracy";
    verdict.score = 5;
    verdict.reason =
        !completion.empty() && completion[0] % 2 == 0 ? Reason::kCheckerError : Reason::kWrong;
    return {verdict};
  }
};

struct Setup {
  explicit Setup(int rounds) {
    config = tiny_run(kTinyBase);
    config.overlong.buffer = 0;
    config.samples_per_prompt = 8;
    config.prompts_per_step = 6;
    config.dynamic_sampling.max_rounds = rounds;
  }
  Rollout collect(const Task& task, int64_t step, int64_t& draws) {
    LocalSampler engine(policy->weights(), tokenizer.get(), config.engine);
    return Rollouts(config, task, *tokenizer, engine).collect(step, draws);
  }
  RunConfig config;
  std::unique_ptr<Policy> policy = tiny_policy();
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(kTinyBase);
};

int informative(const Rollout& rollout) {
  int count = 0;
  for (const Group& group : rollout.groups) count += !group.zero_variance;
  return count;
}

}  // namespace

TEST_CASE("problems are drawn without replacement across steps") {
  Setup setup(0);
  int64_t draws = 0;
  std::set<std::string> seen;
  for (int64_t step = 0; step < 6; ++step) {
    const Rollout rollout = setup.collect(EveryThird(), step, draws);
    CHECK(rollout.groups.size() == 6);
    CHECK(rollout.discarded.empty());
    for (const Group& group : rollout.groups) CHECK(seen.insert(group.problem.id).second);
  }
  CHECK(draws == 36);
}

TEST_CASE("dynamic sampling replaces groups without signal, up to its cap, and never fails") {
  Setup off(0), on(20), capped(1);
  int64_t draws = 0;
  const Rollout plain = off.collect(EveryThird(), 0, draws);
  REQUIRE(informative(plain) < 6);
  draws = 0;
  const Rollout full = on.collect(EveryThird(), 0, draws);
  CHECK(full.groups.size() == 6);
  CHECK(informative(full) == 6);
  CHECK(full.rounds > 1);
  CHECK(static_cast<int64_t>(full.groups.size() + full.discarded.size()) == draws);
  draws = 0;
  const Rollout partial = capped.collect(EveryThird(), 0, draws);
  CHECK(partial.groups.size() == 6);
  CHECK(partial.rounds == 2);
  // What both drew is the same, sample by sample.
  CHECK(full.groups[0].problem.id == partial.groups[0].problem.id);
  CHECK(full.groups[0].samples[3].tokens == partial.groups[0].samples[3].tokens);

  const Json row = rollout_metrics(full);
  CHECK(row.at("dynamic_sampling/discarded_groups") == full.discarded.size());
  CHECK(row.at("frac_reward_zero_std").get<double>() ==
        doctest::Approx(double(full.discarded.size()) /
                        double(full.groups.size() + full.discarded.size())));
  CHECK(row.contains("facts/length"));
  CHECK(!row.contains("facts/note"));
  CHECK(row.at("reasons/accuracy/wrong").get<double>() +
            row.at("reasons/accuracy/correct").get<double>() ==
        doctest::Approx(1));
}

TEST_CASE("a broken checker masks its samples and is counted, and is never a zero") {
  Setup setup(0);
  int64_t draws = 0;
  const Rollout rollout = setup.collect(Broken(), 0, draws);
  int errors = 0, samples = 0;
  for (const Group& group : rollout.groups) {
    for (const Sample& sample : group.samples) {
      const bool error = sample.verdicts[0].reason == Reason::kCheckerError;
      CHECK(sample.masked == error);
      CHECK(sample.reward == (error ? 0 : 5));
      errors += error;
      ++samples;
    }
  }
  REQUIRE(errors > 0);
  REQUIRE(errors < samples);
  const Json row = rollout_metrics(rollout);
  CHECK(row.at("reward") == 5);  // the mean over what could be graded
  CHECK(row.at("checker_error_share").get<double>() == doctest::Approx(double(errors) / samples));
  CHECK(step_health(rollout, {}).checker_errors == errors);
  CHECK(step_health(rollout, {}).samples == samples);
}

TEST_CASE("shaping rewards reach the samples of a step from the run's config") {
  Setup setup(0);
  override_config(setup.config, "shaping.repetition_weight=2");
  override_config(setup.config, "shaping.repetition_ngram=1");
  override_config(setup.config, "shaping.kimi_length_weight=0.5");
  override_config(setup.config, "shaping.language_weight=1");
  override_config(setup.config, "shaping.cosine_weight=0.25");
  override_config(setup.config, "shaping.process_weight=3");
  check_run_config(setup.config);
  int64_t draws = 0;
  const Rollout rollout = setup.collect(EveryThird(), 0, draws);
  for (const Group& group : rollout.groups) {
    for (const Sample& sample : group.samples) {
      std::map<std::string, double> weights;
      double sum = 0;
      for (const Verdict& verdict : sample.verdicts) {
        weights[verdict.name] = verdict.weight;
        sum += verdict.score * verdict.weight;
      }
      CHECK(weights == std::map<std::string, double>{{"accuracy", 1},
                                                     {"repetition", 2},
                                                     {"kimi_length", 0.5},
                                                     {"language", 1},
                                                     {"cosine", 0.25},
                                                     {"process", 3}});
      CHECK(sample.reward == doctest::Approx(sum));
    }
  }
  CHECK(rollout_metrics(rollout).contains("rewards/kimi_length/mean"));
  override_config(setup.config, "shaping.scripts=latn");
  CHECK_THROWS_AS(check_run_config(setup.config), Error);
}

TEST_CASE("a prioritised curriculum prefers what is not solved, and goes on from its state") {
  Setup setup(0);
  override_config(setup.config, "curriculum.mode=prioritised");
  const EveryThird
      task;  // a third of the problems is solved about half of the time, the rest never
  LocalSampler engine(setup.policy->weights(), setup.tokenizer.get(), setup.config.engine);
  Rollouts rollouts(setup.config, task, *setup.tokenizer, engine);
  int64_t draws = 0;
  int solvable = 0, all = 0;
  Json state;
  for (int64_t step = 0; step < 40; ++step) {
    if (step == 30) state = rollouts.curriculum_state();
    const Rollout rollout = rollouts.collect(step, draws);
    std::set<std::string> of_step;
    for (const Group& group : rollout.groups) {
      CHECK(of_step.insert(group.problem.id).second);  // no problem twice in a step
      if (step < 10) continue;                         // by then most have been seen
      ++all;
      solvable += std::stoi(group.problem.id) % 3 == 0;
    }
  }
  CHECK(draws == 240);
  CHECK(all == 180);
  // Unweighted a third, 14 of 40; with weight about one half against one, a fifth.
  CHECK(solvable < 0.3 * all);
  CHECK(solvable > 0.1 * all);

  Rollouts resumed(setup.config, task, *setup.tokenizer, engine);
  resumed.restore_curriculum(Json::parse(state.dump()));
  draws = 180;
  for (int64_t step = 30; step < 40; ++step) resumed.collect(step, draws);
  CHECK(resumed.curriculum_state().dump() == rollouts.curriculum_state().dump());
  CHECK_THROWS_AS(resumed.restore_curriculum(Json::object()), Error);
}

TEST_CASE("without a curriculum there is no state") {
  Setup setup(0);
  LocalSampler engine(setup.policy->weights(), setup.tokenizer.get(), setup.config.engine);
  const EveryThird task;
  CHECK(Rollouts(setup.config, task, *setup.tokenizer, engine).curriculum_state().is_null());
  override_config(setup.config, "curriculum.mode=levels");  // the task has one level
  CHECK_THROWS_AS(Rollouts(setup.config, task, *setup.tokenizer, engine), Error);
}

TEST_CASE("faults of a plug-in are counted by kind, mask their samples, and can stop a run") {
  Setup setup(0);
  // By the bytes of the completion: some crash it, some are refused, the rest get a score.
  const auto task = make_task("process", {{"command", {"python3", "tests/rl/plugin.py"}},
                                          {"problems", "parity:bits=4"},
                                          {"workers", 1},
                                          {"retries", 0},
                                          {"backoff", 0.0},
                                          {"give_up", 1000}});
  int64_t draws = 0;
  const Rollout rollout = setup.collect(*task, 0, draws);
  std::map<std::string, int> faults;
  int samples = 0, scored = 0;
  for (const Group& group : rollout.groups) {
    for (const Sample& sample : group.samples) {
      ++samples;
      const Verdict& verdict = sample.verdicts[0];
      CHECK(sample.masked == (verdict.reason == Reason::kCheckerError));
      if (sample.masked) ++faults[verdict.info.at("fault").get<std::string>()];
      scored += !sample.masked && verdict.score == 1;
    }
  }
  REQUIRE(faults["crashed"] > 0);
  REQUIRE(faults["reported"] > 0);
  REQUIRE(scored > 0);
  const Json row = rollout_metrics(rollout);
  const double n = samples;
  CHECK(row.at("faults/crashed").get<double>() == doctest::Approx(faults["crashed"] / n));
  CHECK(row.at("faults/reported").get<double>() == doctest::Approx(faults["reported"] / n));
  CHECK(row.at("checker_error_share").get<double>() ==
        doctest::Approx((faults["crashed"] + faults["reported"]) / n));
  const StepHealth health = step_health(rollout, {});
  AlarmConfig alarms;  // stops on checker_errors by default
  const double share = static_cast<double>(health.checker_errors) / n;
  alarms.max_checker_errors = share + 0.01;
  CHECK(Alarms(alarms).check(health).empty());
  alarms.max_checker_errors = share - 0.01;
  const auto rung = Alarms(alarms).check(health);
  REQUIRE(rung.size() == 1);
  CHECK(rung[0].name == "checker_errors");
  CHECK(rung[0].stop);
}
