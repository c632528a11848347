#include "rl/batch_loss.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace zeroth;

namespace {

// Groups of samples with these log-probs and advantages, entropies of half a nat.
std::vector<Group> groups_of(const std::vector<std::vector<float>>& logprobs,
                             const std::vector<double>& advantages) {
  std::vector<Group> groups(1);
  for (size_t i = 0; i < logprobs.size(); ++i) {
    Sample sample;
    sample.logprobs = logprobs[i];
    sample.tokens.assign(logprobs[i].size(), 1);
    sample.entropies.assign(logprobs[i].size(), 0.5f);
    sample.advantage = advantages[i];
    groups[0].samples.push_back(sample);
  }
  return groups;
}

// Which tokens have no policy gradient in the first update.
std::vector<size_t> dropped(const LossConfig& config, const std::vector<Group>& groups,
                            WeightsVersion version) {
  BatchLoss loss(config, 16, 1);
  loss.begin_step(groups, version);
  const std::vector<int32_t> order = {0};
  loss.begin(order, 8);
  std::vector<size_t> tokens;
  size_t at = 0;
  LossStats stats;
  for (size_t i = 0; i < groups[0].samples.size(); ++i) {
    for (const double g : loss.differentiate(0, i, groups[0].samples[i].logprobs, stats)) {
      if (g == 0) tokens.push_back(at);
      ++at;
    }
  }
  return tokens;
}

}  // namespace

TEST_CASE("Clip-Cov drops so many of the tokens between the bounds, others by other weights") {
  // Mean log-prob -2, mean advantage 0: covariances 1 0 -1 -2 | -2 0 1 -1 by hand.
  const auto groups = groups_of({{-1, -2, -3, -4}, {0, -2, -3, -1}}, {1, -1});
  LossConfig config;
  config.covariance = "clip";
  config.covariance_share = 0.25;
  config.covariance_low = 0.5;
  config.covariance_high = 1.5;
  const auto of = [&](WeightsVersion version) { return dropped(config, groups, version); };
  CHECK(of(3).size() == 2);
  CHECK(of(3) == std::vector<size_t>{0, 6});  // all that there are
  CHECK(of(3) == of(3));
  config.covariance_share = 0.125;
  std::vector<size_t> seen;
  for (WeightsVersion v = 0; v < 20; ++v) {
    REQUIRE(of(v).size() == 1);
    seen.push_back(of(v)[0]);
  }
  CHECK(std::count(seen.begin(), seen.end(), 0) > 0);
  CHECK(std::count(seen.begin(), seen.end(), 6) > 0);
  config.covariance_low = 3;
  config.covariance_high = 4;
  CHECK(of(3).empty());
}

TEST_CASE("KL-Cov pulls the tokens of the largest covariance back") {
  const auto groups = groups_of({{-1, -2, -3, -4}, {0, -2, -3, -1}}, {1, -1});
  LossConfig config;
  config.covariance = "kl";
  config.covariance_share = 0.25;
  config.covariance_kl_coef = 100;
  BatchLoss loss(config, 16, 1);
  loss.begin_step(groups, 0);
  const std::vector<int32_t> order = {0};
  loss.begin(order, 8);
  LossStats stats;
  std::vector<size_t> pulled;
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> lp = groups[0].samples[i].logprobs;
    for (float& x : lp) x += 0.01f;
    const auto gradient = loss.differentiate(0, i, lp, stats);
    for (size_t t = 0; t < 4; ++t) {
      if (gradient[t] > 1) pulled.push_back(4 * i + t);
    }
  }
  // The first sample's likeliest token, and an unlikely one of the second.
  CHECK(pulled == std::vector<size_t>{0, 6});
}

TEST_CASE("the entropy coefficient follows the samples' entropy to its target") {
  const auto groups = groups_of({{-1, -2}, {-1, -1}}, {1, -1});  // 0.5 nats a token
  LossConfig config;
  config.entropy_coef = 0.01;
  config.entropy_step = 0.002;
  const auto after = [&](double target, StepReport& report) {
    config.entropy_target = target;
    BatchLoss loss(config, 16, 1);
    loss.begin_step(groups, 0);
    const std::vector<int32_t> order = {0};
    loss.begin(order, 4);
    CHECK(loss.wants_entropy() == (target >= 0.5));
    loss.end_step(report);
    return loss.entropy_coef();
  };
  StepReport report;
  CHECK(after(0.6, report) == doctest::Approx(0.012));
  CHECK(report.entropy_coef == 0.01);
  CHECK(after(0.4, report) == doctest::Approx(0.008));
  CHECK(report.entropy_coef == 0);
  config.entropy_coef = 0;
  CHECK(after(0.4, report) == 0);  // never below
}
