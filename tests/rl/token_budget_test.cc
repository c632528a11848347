// Partial rollouts: samples that go on in later steps, and what a checkpoint keeps of them.
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/json_lines.h"
#include "model/formats/gguf_model.h"
#include "policy/scoring.h"
#include "rl/set_aside.h"
#include "rl/train_loop.h"
#include "rollout/local_sampler.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kContext = 256;

RunConfig budgeted_run(const fs::path& base) {
  RunConfig config = tiny_run(base);
  config.async.token_budget = 4;
  return config;
}

std::vector<OpenGroup> open_groups(int groups, int64_t vocabulary) {
  std::vector<OpenGroup> open(groups);
  for (int g = 0; g < groups; ++g) {
    for (int t = 0; t < 3 + 9 * g; ++t)
      open[g].group.prompt_tokens.push_back(static_cast<TokenId>((t * 7 + g) % vocabulary));
    open[g].problem = g;
  }
  return open;
}

std::vector<GenerationRequest> whole_requests(const std::vector<OpenGroup>& open, int max_tokens) {
  std::vector<GenerationRequest> whole;
  for (size_t g = 0; g < open.size(); ++g) {
    GenerationRequest request;
    request.prompt = open[g].group.prompt_tokens;
    request.seed = 5;
    request.problem = static_cast<uint32_t>(g);
    request.samples = 3;
    request.sampling.max_tokens = max_tokens;
    for (char c = 'a'; c <= 'z'; ++c) request.sampling.stop.push_back(std::string(1, c));
    whole.push_back(std::move(request));
  }
  return whole;
}

// One round for all that are open; false when nothing was left to draw.
bool go_on(Sampler& sampler, std::vector<OpenGroup>& open, int max_tokens, int64_t budget) {
  const BudgetedRequests budgeted(open, whole_requests(open, max_tokens), budget, kContext);
  if (budgeted.requests().empty()) return false;
  Tickets tickets;
  budgeted.settle(sampler.generate(budgeted.requests()), open, tickets);
  CHECK(tickets.size() == open.size());
  return true;
}

std::vector<Json> rows_of(const fs::path& run) {
  std::vector<Json> rows;
  for_each_json_line(run / "metrics.jsonl", [&](const Json& row, int64_t) { rows.push_back(row); });
  return rows;
}

void check_same(const Sample& a, const Sample& b) {
  CHECK(a.tokens == b.tokens);
  CHECK(a.logprobs == b.logprobs);
  CHECK(a.entropies == b.entropies);
  CHECK(a.text == b.text);
  CHECK(a.finish == b.finish);
  CHECK(a.versions == b.versions);
  CHECK(a.key.sample == b.key.sample);
}

std::vector<float> scored(const Weights& weights, const OpenGroup& of, const Sample& sample) {
  std::vector<TokenId> all = of.group.prompt_tokens;
  all.insert(all.end(), sample.tokens.begin(), sample.tokens.end());
  auto scores = score_sequences(weights, std::vector<std::vector<TokenId>>{all})[0];
  return {scores.end() - static_cast<std::ptrdiff_t>(sample.tokens.size()), scores.end()};
}

}  // namespace

TEST_CASE("rounds of a budget give the samples of one call, bit for bit") {
  TemporaryFolder folder;
  const fs::path base = make_tiny_base(folder.path() / "base");
  const auto tokenizer = load_tokenizer(base);
  const auto policy = Policy::load(base);
  const int64_t vocabulary = policy->config().vocab_size;
  LocalSampler sampler(policy->weights(), tokenizer.get(), {});
  std::vector<OpenGroup> open = open_groups(4, vocabulary);
  const auto expected = sampler.generate(whole_requests(open, 14));
  for (const int budget : {1, 3, 5, 14, 100}) {
    CAPTURE(budget);
    open = open_groups(4, vocabulary);
    int rounds = 0;
    while (go_on(sampler, open, 14, budget)) {
      // What is set aside comes back from bytes as it was.
      const std::string bytes = pack_open_groups(open);
      open = unpack_open_groups(bytes, "test");
      CHECK(pack_open_groups(open) == bytes);
      ++rounds;
    }
    CHECK(rounds <= (14 + budget - 1) / budget);
    CHECK(rounds >= (budget < 5 ? 2 : 1));
    for (size_t g = 0; g < open.size(); ++g) {
      CHECK(open[g].drawn == 0);
      CHECK(open[g].problem == static_cast<int64_t>(g));
      for (size_t i = 0; i < 3; ++i) check_same(open[g].group.samples[i], expected[g][i]);
    }
  }
}

TEST_CASE("every token has the log-prob of the weights that drew it, behind all tokens before it") {
  TemporaryFolder folder;
  const fs::path base = make_tiny_base(folder.path() / "base");
  const auto tokenizer = load_tokenizer(base);
  const auto policy = Policy::load(base);
  const WeightsPtr first = policy->weights();
  LocalSampler sampler(first, tokenizer.get(), {});
  std::vector<OpenGroup> open = open_groups(3, policy->config().vocab_size);
  go_on(sampler, open, 14, 4);
  for (float& w : policy->parameters().values()) w *= 1.5f;
  const WeightsPtr second = policy->publish(1);
  sampler.publish(second);
  while (go_on(sampler, open, 14, 4)) {
  }
  int switched = 0;
  for (const OpenGroup& group : open) {
    for (const Sample& sample : group.group.samples) {
      const auto by_first = scored(*first, group, sample),
                 by_second = scored(*second, group, sample);
      const size_t cut = sample.versions.size() > 1 ? 4 : sample.tokens.size();
      for (size_t t = 0; t < sample.tokens.size(); ++t)
        CHECK(sample.logprobs[t] == (t < cut ? by_first[t] : by_second[t]));
      if (sample.versions.size() == 1) continue;
      ++switched;
      CHECK(sample.versions == std::vector<VersionSegment>{{0, 0}, {4, 1}});
    }
  }
  CHECK(switched > 0);
}

TEST_CASE("a run with a token budget sets groups aside, and resumes to the same bytes") {
  TemporaryFolder folder;
  for (const int lag : {0, 1}) {
    CAPTURE(lag);
    RunConfig config = budgeted_run(make_tiny_base(folder.path() / ("base" + std::to_string(lag))));
    config.async.lag = lag;
    config.checkpoint_every = 1;
    config.curriculum.mode = "prioritised";
    const fs::path straight = folder.path() / ("straight" + std::to_string(lag));
    const TrainSummary summary = train(*TrainingRun::create(straight, config));
    CHECK(summary.max_logp_difference == 0);
    double aside = 0, stale = 0;
    for (const Json& row : rows_of(straight)) {
      aside += row.at("sampling/groups_set_aside").get<double>();
      stale = std::max(stale, row.at("sampling/staleness/max").get<double>());
    }
    CHECK(aside > 0);
    CHECK(stale > lag);
    const Left left = left_by(straight);
    for (const int64_t stop_at : {1, 2, 4}) {
      CAPTURE(stop_at);
      const fs::path path = folder.path() / (std::to_string(lag) + "-" + std::to_string(stop_at));
      std::atomic<bool> stop{false};
      train(*TrainingRun::create(path, config), &stop,
            [&](int64_t finished, int64_t) { stop = finished >= stop_at; });
      train(*TrainingRun::resume(path, config));
      CHECK(left_by(path) == left);
    }
  }
}

TEST_CASE("a budget that nothing reaches changes no weight") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  train(*TrainingRun::create(folder.path() / "plain", config));
  config.async.token_budget = 12;
  train(*TrainingRun::create(folder.path() / "budget", config));
  const auto weights = [&](const char* run) {
    return read_file(folder.path() / run / "checkpoints" / "latest" / "model.safetensors");
  };
  CHECK(weights("plain") == weights("budget"));
}

TEST_CASE("what a token budget does not go with is refused by name") {
  RunConfig config = budgeted_run("base");
  const auto refusal = [&](auto&& change) {
    RunConfig changed = config;
    change(changed);
    try {
      check_run_config(changed);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  CHECK(refusal([](RunConfig&) {}).empty());
  CHECK(refusal([](RunConfig& c) { c.async.max_staleness = 1; }).find("max_staleness") !=
        std::string::npos);
  CHECK(refusal([](RunConfig& c) { c.dynamic_sampling.max_rounds = 1; }).find("max_rounds") !=
        std::string::npos);
  CHECK(refusal([](RunConfig& c) { c.fleet.listen = "127.0.0.1:0"; }).find("fleet.listen") !=
        std::string::npos);
}
