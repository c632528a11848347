#include "rl/process_supervision.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "model/formats/gguf_model.h"
#include "tests/rl/support.h"

using namespace zeroth;

namespace {

// The tokenizer's ids are bytes behind two special tokens.
TokenId token_of(char c) { return 2 + static_cast<unsigned char>(c); }

// A token a byte, and one more at the end.
Sample sample_of(const std::string& text, double reward) {
  Sample sample;
  sample.text = text;
  sample.reward = reward;
  for (const char c : text) sample.tokens.push_back(token_of(c));
  sample.tokens.push_back(token_of('\n'));
  return sample;
}

AdvantageConfig process() {
  AdvantageConfig config;
  config.supervision = "process";
  config.std_epsilon = 0;
  return config;
}

}  // namespace

TEST_CASE("process supervision: pooled rewards, and what the steps to come have earned") {
  const auto tokenizer = load_tokenizer(kTinyBase);
  REQUIRE(tokenizer->token_bytes(token_of('7')) == "7");
  Group group;
  group.samples = {sample_of("1+1=2 2+2=5", 0), sample_of("1+1=2 2+2=4", 1), sample_of("no", 0)};
  std::vector<Group> groups = {group};
  assign_advantages(groups, process());
  CHECK(!groups[0].zero_variance);
  // R: 1 0 0 | 1 1 1 | 0 by hand.
  const double mean = 4. / 7, s = std::sqrt(mean * (1 - mean));
  const double right = (1 - mean) / s, wrong = -mean / s;
  const auto a = token_advantages(groups[0], process(), *tokenizer);
  const std::string text = group.samples[0].text;
  REQUIRE(a[0].size() == text.size() + 1);
  for (size_t t = 0; t < a[0].size(); ++t) {
    // The first step ends with the token of index 4, the second with 10, the sample with 11.
    const double expected = (t <= 4 ? right : 0) + (t <= 10 ? wrong : 0) + wrong;
    CHECK(a[0][t] == doctest::Approx(expected));
  }
  CHECK(a[1][0] == doctest::Approx(3 * right));
  CHECK(a[2][0] == doctest::Approx(wrong));
  for (size_t i = 0; i < 3; ++i) CHECK(groups[0].samples[i].advantage == doctest::Approx(a[i][0]));
}

TEST_CASE("process supervision: steps of a checker go first, masked samples stay out") {
  const auto tokenizer = load_tokenizer(kTinyBase);
  Group group;
  group.samples = {sample_of("abcd", 0), sample_of("1+1=2", 0), sample_of("1+1=3", 9)};
  Verdict verdict;
  verdict.info = {{"step_rewards", Json::array({Json::array({2, 0.5}), Json::array({4, 1})})}};
  group.samples[0].verdicts.push_back(verdict);
  group.samples[2].masked = true;
  std::vector<Group> groups = {group};
  AdvantageConfig config = process();
  config.step_weight = 2;
  assign_advantages(groups, config);
  const auto steps = step_rewards(group.samples[0], config);
  REQUIRE(steps.size() == 3);
  CHECK(steps[0].end == 2);
  CHECK(steps[0].reward == 1);
  CHECK(steps[1].reward == 2);
  CHECK(groups[0].samples[2].advantage == 0);
  const auto a = token_advantages(groups[0], config, *tokenizer);
  CHECK(a[2].empty());
  const double s = a[0][1] - a[0][2];  // R: 1 2 0 | 2 0, mean 1: the first step is worth 0
  CHECK(s == doctest::Approx(0));
  CHECK(a[0][3] > a[0][4]);
  groups[0].samples[0].verdicts[0].info["step_rewards"] = Json::array({Json::array({4, 1}), 3});
  CHECK_THROWS_WITH_AS(assign_advantages(groups, config), doctest::Contains("step_rewards"), Error);
}

TEST_CASE("process supervision: equal rewards everywhere teach nothing") {
  const auto tokenizer = load_tokenizer(kTinyBase);
  std::vector<Group> groups(1);
  groups[0].samples = {sample_of("1+1=2", 1), sample_of("2+2=4", 1)};
  assign_advantages(groups, process());
  CHECK(groups[0].zero_variance);
  CHECK(groups[0].samples[0].advantage == 0);
  CHECK(token_advantages(groups[0], process(), *tokenizer)[0].empty());
}
