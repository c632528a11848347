#include "rl/turns.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "core/interrupted.h"
#include "model/formats/gguf_model.h"
#include "record/trace_codec.h"
#include "rl/grading.h"
#include "rl/metrics.h"
#include "rl/process_supervision.h"
#include "rl/rollout_codec.h"
#include "rl/rollouts.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "rollout/scripted_sampler.h"
#include "support.h"

using namespace zeroth;

namespace {

// Answers every reply with its length, pays a tenth of it, and ends after so many turns.
class Echo : public Task, public Environment {
 public:
  int ends_after = 3;
  int turns = 8;
  std::string fault_at;  // a reply that holds it is a fault
  std::string lead, tail;
  mutable std::vector<std::vector<Turn>> before;
  mutable std::vector<std::string> replies;

  std::string name() const override { return "echo"; }
  int64_t size(Split) const override { return 40; }
  Problem problem(Split, int64_t i) const override {
    return {name(), std::to_string(i), "Q" + std::to_string(i) + ":", "", {}};
  }
  std::vector<Verdict> grade(const Problem&, std::string_view completion,
                             FinishReason) const override {
    Verdict verdict{"accuracy", 0, 1, Reason::kWrong, "", Json::object()};
    verdict.score = !completion.empty() && completion.size() % 2 == 0 ? 1 : 0;
    return {verdict};
  }
  const Environment* environment() const override { return this; }
  int max_turns(const Problem&) const override { return turns; }
  int max_observation_tokens(const Problem&) const override { return 4; }
  double turn_weight(const Problem&) const override { return 0.5; }
  std::vector<std::string> turn_stops(const Problem&) const override { return {"!"}; }
  std::vector<StepResult> step(std::span<const StepRequest> requests) const override {
    std::vector<StepResult> out;
    for (const StepRequest& request : requests) {
      before.emplace_back(request.before.begin(), request.before.end());
      replies.emplace_back(request.reply);
      StepResult& result = out.emplace_back();
      result.observation = "[" + std::to_string(request.reply.size() % 10) + "]";
      result.reward = 0.1 * static_cast<double>(request.reply.size());
      result.done = static_cast<int>(request.before.size()) + 1 >= ends_after;
      result.info = {{"calls", 1}};
      result.lead = lead;
      result.tail = tail;
      if (!fault_at.empty() && request.reply.find(fault_at) != std::string_view::npos) {
        result.fault = "timeout";
        result.detail = "no answer";
      }
    }
    return out;
  }
};

struct Setup {
  Echo task;
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(kTinyBase);
  std::vector<GenerationRequest> asked;  // in order
  std::vector<std::string> says;         // turn by turn; "!" ends one, "." all
  std::vector<GenerationRequest> requests;
  std::vector<Group> groups;

  explicit Setup(int samples = 2) {
    Group& group = groups.emplace_back();
    group.problem = task.problem(Split::kTrain, 0);
    group.prompt_tokens = tokenizer->encode(group.problem.prompt);
    GenerationRequest& request = requests.emplace_back();
    request.prompt = group.prompt_tokens;
    request.seed = 7;
    request.step = 3;
    request.problem = 5;
    request.samples = samples;
    request.sampling.max_tokens = 20;
  }
  std::vector<Sample> run(const GenerateOptions& options = {}, int64_t context = 1 << 20) {
    ScriptedSampler sampler([&](const GenerationRequest& request, int, const WeightsPtr&) {
      asked.push_back(request);
      const uint32_t turn = request.first_sample / kTurnStride;
      Sample sample;
      sample.text = says.at(turn);
      sample.tokens = tokenizer->encode(sample.text);
      for (size_t t = 0; t < sample.tokens.size(); ++t)
        sample.logprobs.push_back(-0.1f * static_cast<float>(t + 1));
      // The stop string is left out, as a sampler does.
      if (sample.text.ends_with("!")) sample.text.pop_back();
      return sample;
    });
    TurnSetup setup{&task, tokenizer.get(), context};
    return generate_turns(sampler, setup, groups, requests, options)[0];
  }
};

}  // namespace

TEST_CASE("turns: ids as drawn, observations tokenised once, one verdict") {
  Setup setup;
  setup.says = {"ab!", "cde!", "fg"};
  const std::vector<Sample> samples = setup.run();
  REQUIRE(samples.size() == 2);
  const auto ids = [&](const std::string& text) { return setup.tokenizer->encode(text); };
  for (size_t i = 0; i < 2; ++i) {
    const Sample& sample = samples[i];
    CHECK(sample.tokens == ids("ab![3]cde![4]fg"));
    CHECK(sample.text == "ab!cde!fg");
    CHECK(sample.key == StreamKey{7, 3, 5, static_cast<uint32_t>(i)});
    REQUIRE(sample.turns.size() == 3);
    CHECK(sample.turns[0] == Turn{3, 6, 3, 0.1 * 3, "[3]"});
    CHECK(sample.turns[1] == Turn{10, 13, 7, 0.1 * 4, "[4]"});
    CHECK(sample.turns[2] == Turn{15, 15, 9, 0.1 * 2, ""});
    CHECK(drawn_tokens(sample) == 9);
    CHECK(drawn_ids(sample) == ids("ab!cde!fg"));
    CHECK(drawn_mask(sample) == std::vector<uint8_t>{1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 1});
    for (size_t t : {3, 4, 5, 10, 11, 12}) CHECK(sample.logprobs[t] == 0);
    CHECK(sample.logprobs[6] == -0.1f);
    CHECK(sample.finish == FinishReason::kStop);
    const Verdict* verdict = turns_verdict(sample);
    REQUIRE(verdict != nullptr);
    CHECK(verdict->score == doctest::Approx(0.9));
    CHECK(verdict->weight == 0.5);
    CHECK(verdict->info == Json{{"calls", 3.0}, {"turns", 3}});
  }
  // The prompt of a turn is all that stands before it, and its draws are its own.
  REQUIRE(setup.asked.size() == 6);
  CHECK(setup.asked[0].first_sample == 0);
  CHECK(setup.asked[3].prompt == ids("Q0:ab![3]"));
  CHECK(setup.asked[3].first_sample == 1 + kTurnStride);
  CHECK(setup.asked[4].prompt == ids("Q0:ab![3]cde![4]"));
  CHECK(setup.asked[4].first_sample == 2 * kTurnStride);
  CHECK(setup.asked[2].sampling.max_tokens == 20 - 3);
  CHECK(setup.asked[4].sampling.max_tokens == 20 - 7);
  CHECK(setup.task.replies == std::vector<std::string>{"ab!", "ab!", "cde!", "cde!", "fg", "fg"});
  CHECK(setup.task.before[4].size() == 2);
  CHECK(setup.task.before[4][1].observation == "[4]");
}

TEST_CASE("turns: bounded in turns, tokens, context and observations") {
  SUBCASE("turns") {
    Setup setup(1);
    setup.says = {"ab!", "cd!", "ef!"};
    setup.task.ends_after = 100;
    setup.task.turns = 2;
    const Sample sample = setup.run()[0];
    CHECK(sample.turns.size() == 2);
    CHECK(sample.finish == FinishReason::kLength);
    // What asks for an answer does not end the last turn.
    CHECK(setup.asked[0].sampling.stop == std::vector<std::string>{"!"});
    CHECK(setup.asked[1].sampling.stop.empty());
  }
  SUBCASE("tokens, of all turns together") {
    Setup setup(1);
    setup.says = {"abcd!", "efghi", "x"};
    setup.requests[0].sampling.max_tokens = 8;
    const Sample sample = setup.run()[0];
    CHECK(drawn_tokens(sample) == 8);
    CHECK(sample.finish == FinishReason::kLength);
    CHECK(sample.turns.size() == 2);
    CHECK(setup.task.replies.size() == 1);  // a reply that was cut off is not answered
  }
  SUBCASE("context") {
    Setup setup(1);
    setup.says = {"ab!", "cd!", "ef"};
    const Sample sample = setup.run({}, 3 + 3 + 3 + 3 + 3)[0];
    CHECK(sample.tokens.size() == 9);  // the second observation would fill it
    CHECK(sample.finish == FinishReason::kLength);
  }
  SUBCASE("observations") {
    Setup setup(1);
    setup.says = {std::string(15, 'a') + "!", "b"};
    setup.task.ends_after = 2;
    setup.task.lead = "<";
    setup.task.tail = ">";
    const Sample cut = setup.run()[0];
    CHECK(setup.tokenizer->decode(cut.tokens) == std::string(15, 'a') + "!<[6]>b");
  }
}

TEST_CASE("turns: a fault of the environment ends and masks its sample, and is counted") {
  Setup setup(2);
  setup.says = {"ab!", "cd"};
  setup.task.fault_at = "cd";
  std::vector<Group> groups = setup.groups;
  groups[0].samples = setup.run();
  grade_groups(setup.task, {}, groups);
  for (const Sample& sample : groups[0].samples) {
    CHECK(sample.masked);
    CHECK(sample.tokens.size() == 3 + 3 + 2);
    REQUIRE(sample.verdicts.size() == 2);
    CHECK(sample.verdicts[1].reason == Reason::kCheckerError);
    CHECK(sample.verdicts[1].info["fault"] == "environment_timeout");
    CHECK(sample.verdicts[1].info["detail"] == "no answer");
  }
  Rollout rollout;
  rollout.groups = groups;
  const Json row = rollout_metrics(rollout, nullptr);
  CHECK(row["faults/environment_timeout"] == 1);
  CHECK(row["checker_error_share"] == 1);
  CHECK(row["completions/mean_length"] == 5);
  // Grading again keeps what the environment said.
  grade_groups(setup.task, {}, groups);
  CHECK(groups[0].samples[0].verdicts.size() == 2);
}

TEST_CASE("turns: a stop ends them") {
  Setup setup(1);
  setup.says = {"ab!", "cd"};
  const std::atomic<bool> stop{true};
  CHECK(setup.run({.cancel = &stop})[0].finish == FinishReason::kAborted);
}

namespace {

// Groups of several turns from a policy with random weights. Many bytes end a turn.
struct Trained {
  explicit Trained(bool experts = false, int top_k = 0) {
    config = tiny_run(kTinyBase);
    config.overlong.buffer = 0;
    config.samples_per_prompt = 6;
    config.prompts_per_step = 3;
    config.sampling.top_k = top_k;
    config.sampling.max_tokens = 40;
    config.engine.record_experts = experts;
  }
  std::vector<Group> collect(LocalSampler& sampler) {
    int64_t draws = 0;
    Rollouts rollouts(config, task, *tokenizer, sampler);
    Rollout rollout = rollouts.collect(0, draws);
    tickets = std::move(rollout.tickets);
    return std::move(rollout.groups);
  }
  std::vector<float> train(const std::vector<Group>& groups, StepReport* report = nullptr,
                           const LossConfig& loss = {}) {
    const auto learner = tiny_policy();
    OptimizerConfig optimizer;
    optimizer.lr = 1e-3;
    TrainerConfig how = config.trainer;
    how.reuse_mb = 0;
    Trainer trainer(*learner, nullptr, how, loss, optimizer, 9, 10, 40, 1);
    const StepReport done = trainer.update(groups, 0);
    if (report != nullptr) *report = done;
    const auto values = learner->parameters().values();
    return {values.begin(), values.end()};
  }
  RunConfig config;
  Echo task;
  Tickets tickets;
  std::unique_ptr<Policy> policy = tiny_policy();
  std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(kTinyBase);
};

int turns_of(const std::vector<Group>& groups) {
  int most = 0;
  for (const Group& group : groups)
    for (const Sample& sample : group.samples)
      most = std::max(most, static_cast<int>(sample.turns.size()));
  return most;
}

}  // namespace

TEST_CASE("turns: training computes the log-probs of sampling, bit for bit, on the sampled ids") {
  for (const int top_k : {0, 5}) {
    CAPTURE(top_k);
    Trained run(false, top_k);
    LocalSampler sampler(run.policy->weights(), run.tokenizer.get(), {});
    const auto groups = run.collect(sampler);
    REQUIRE(turns_of(groups) == 3);
    StepReport report;
    run.train(groups, &report);
    CHECK(report.logp_difference_max == 0);
    CHECK(report.stats.ratio_min == 1);
    CHECK(report.stats.ratio_max == 1);
    int64_t drawn = 0;
    for (size_t g = 0; g < groups.size(); ++g) {
      for (size_t i = 0; i < groups[g].samples.size(); ++i) {
        const Sample& sample = groups[g].samples[i];
        drawn += drawn_tokens(sample);
        const auto mask = drawn_mask(sample);
        for (size_t t = 0; t < sample.tokens.size(); ++t) {
          if (!mask.empty() && mask[t] == 0) continue;
          CHECK(report.trained[g][i].logprobs[t] == sample.logprobs[t]);
        }
      }
    }
    CHECK(report.stats.tokens == drawn);
    // What one call draws, others do: every turn again by itself.
    const Sample& sample = groups[0].samples[1];
    GenerationRequest again;
    again.prompt = groups[0].prompt_tokens;
    again.prompt.insert(again.prompt.end(), sample.tokens.begin(),
                        sample.tokens.begin() + sample.turns[0].next);
    again.seed = sample.key.seed;
    again.step = sample.key.step;
    again.problem = sample.key.problem;
    again.first_sample = sample.key.sample + kTurnStride;
    again.sampling = run.config.sampling;
    again.sampling.max_tokens = sample.turns[1].end - sample.turns[0].next;
    const Sample turn = sampler.generate({again})[0][0];
    CHECK(turn.tokens == std::vector<TokenId>(sample.tokens.begin() + sample.turns[0].next,
                                              sample.tokens.begin() + sample.turns[1].end));
    CHECK(std::equal(turn.logprobs.begin(), turn.logprobs.end(),
                     sample.logprobs.begin() + sample.turns[0].next));
  }
}

TEST_CASE("turns: tokens of an environment have exactly no gradient") {
  Trained run;
  LocalSampler sampler(run.policy->weights(), run.tokenizer.get(), {});
  const auto groups = run.collect(sampler);
  std::vector<Group> poisoned = groups;
  int64_t others = 0;
  for (Group& group : poisoned) {
    for (Sample& sample : group.samples) {
      const auto mask = drawn_mask(sample);
      for (size_t t = 0; t < mask.size(); ++t) {
        if (mask[t] != 0) continue;
        sample.logprobs[t] = sample.entropies[t] = std::numeric_limits<float>::quiet_NaN();
        ++others;
      }
    }
  }
  REQUIRE(others > 20);
  LossConfig loss;
  SUBCASE("plain") {}
  SUBCASE("by entropy, with a bonus") {
    loss.top_entropy_quantile = 0.5;
    loss.entropy_coef = 0.1;
  }
  SUBCASE("by covariance") { loss.covariance = "kl"; }
  SUBCASE("sequences") { loss.importance_sampling = "sequence"; }
  const auto weights = run.train(groups, nullptr, loss);
  CHECK(run.train(poisoned, nullptr, loss) == weights);
  // It can fail: without the mask they would count.
  for (Group& group : poisoned)
    for (Sample& sample : group.samples) sample.turns.clear();
  for (Group& group : poisoned)
    for (Sample& sample : group.samples)
      for (float& p : sample.logprobs) p = std::isnan(p) ? -1.0f : p;
  CHECK(run.train(poisoned, nullptr, loss) != weights);
}

TEST_CASE("turns: activations and routing of the last turn are those of the whole sample") {
  Trained run(true);
  const auto learner = tiny_policy();
  OptimizerConfig optimizer;
  optimizer.lr = 1e-3;
  Trainer trainer(*learner, nullptr, run.config.trainer, {}, optimizer, 9, 10, 40, 1);
  EngineConfig engine;
  engine.record_experts = true;
  LocalSampler sampler(learner->weights(), run.tokenizer.get(), engine, trainer.activation_store());
  const auto groups = run.collect(sampler);
  REQUIRE(turns_of(groups) == 3);
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      const size_t row = size_t(learner->config().moe_layers()) * learner->config().router.top_k;
      CHECK(sample.experts.size() == sample.tokens.size() * row);
      CHECK(sample.router_confidence.size() ==
            sample.tokens.size() * learner->config().moe_layers());
    }
  }
  const UpdatePlan plan = trainer.plan(groups, 0);
  const StepReport report = trainer.update(plan, groups, run.tickets, nullptr);
  CHECK(report.recalled_share() > 0.9);
  CHECK(report.logp_difference_max == 0);
  CHECK(report.routing.choices > 0);
  CHECK(report.routing.changed_choices == 0);
  const auto values = learner->parameters().values();
  CHECK(run.train(groups) == std::vector<float>(values.begin(), values.end()));
}

TEST_CASE("turns: checkpoints and traces keep them") {
  Setup setup(1);
  setup.says = {"ab!", "cd"};
  setup.task.ends_after = 2;
  Group group = setup.groups[0];
  group.samples = setup.run();
  Rollout rollout;
  rollout.groups = {group};
  const auto back = unpack_rollouts(pack_rollouts({{4, rollout}}), "test").at(4);
  CHECK(back.groups[0].samples[0].turns == group.samples[0].turns);

  Vocabulary vocabulary;
  for (TokenId t = 0; t < setup.tokenizer->vocab_size(); ++t)
    vocabulary.push_back(setup.tokenizer->token_bytes(t));
  CHECK(group_version(group) == 3);
  const std::string payload = encode_group(group, vocabulary);
  const Group read = decode_group(payload, vocabulary);
  CHECK(read.samples[0].turns == group.samples[0].turns);
  CHECK(read.samples[0].text == "ab!cd");
  CHECK(read.samples[0].tokens == group.samples[0].tokens);
  CHECK(payload.find("ab!cd") == std::string::npos);  // the text follows from the tokens
  for (const std::string bad : {"[9,9,5,", "[8,7,5,", "[2,8,5,", "[8,8,9,"}) {
    std::string broken = payload;
    const size_t at = broken.find("[8,8,5,");
    REQUIRE(at != std::string::npos);
    CHECK_THROWS_AS(decode_group(broken.replace(at, bad.size(), bad), vocabulary), Error);
  }
}

TEST_CASE("turns: advantages by turn, against the closed form") {
  // Two turns each; rewards of turn 1: 1, 0, 0; of turn 2: 2, 0 and none; outcomes 1, 0, 1.
  Group group;
  for (int i = 0; i < 3; ++i) {
    Sample& sample = group.samples.emplace_back();
    sample.tokens = {1, 2, 3, 4, 5, 6};
    sample.logprobs = sample.entropies = {0, 0, 0, 0, 0, 0};
    sample.turns = {{2, 4, 2, i == 0 ? 1.0 : 0.0, "x"}, {6, 6, 4, i == 0 ? 2.0 : 0.0, ""}};
    if (i == 2) sample.turns = {{6, 6, 6, 0, ""}};
    double paid = 0;
    for (const Turn& turn : sample.turns) paid += turn.reward;
    sample.verdicts = {{"accuracy", i != 1 ? 1.0 : 0.0, 1, Reason::kCorrect, "", {}},
                       {"turns", paid, 0.5, Reason::kShaped, "", {}}};
    sample.reward = (i != 1 ? 1.0 : 0.0) + 0.5 * paid;
  }
  AdvantageConfig config;
  config.supervision = "turns";
  config.step_weight = 0.25;
  config.std_epsilon = 0;
  std::vector<Group> groups = {group};
  assign_advantages(groups, config);
  const double o1 = (1 - 2.0 / 3) / std::sqrt(2.0 / 9), o0 = (0 - 2.0 / 3) / std::sqrt(2.0 / 9);
  const double t1 = (1 - 1.0 / 3) / std::sqrt(2.0 / 9), t0 = (0 - 1.0 / 3) / std::sqrt(2.0 / 9);
  const double second = 1;  // (2 - 1) / 1, over the two that have one
  CHECK(groups[0].samples[0].advantage == doctest::Approx(o1 + 0.25 * (t1 + second)));
  CHECK(groups[0].samples[1].advantage == doctest::Approx(o0 + 0.25 * (t0 - second)));
  CHECK(groups[0].samples[2].advantage == doctest::Approx(o1 + 0.25 * t0));
  const auto tokenizer = load_tokenizer(kTinyBase);
  const auto by_token = token_advantages(groups[0], config, *tokenizer);
  CHECK(by_token[0][0] == groups[0].samples[0].advantage);
  CHECK(by_token[0][5] == doctest::Approx(o1 + 0.25 * second));
  CHECK(by_token[1][4] == doctest::Approx(o0 - 0.25 * second));
  CHECK(by_token[2][5] == groups[0].samples[2].advantage);
  // Equal rewards everywhere teach nothing, exactly.
  for (Sample& sample : groups[0].samples) sample = groups[0].samples[1];
  assign_advantages(groups, config);
  CHECK(groups[0].zero_variance);
  CHECK(groups[0].samples[0].advantage == 0);
}
