#include "rl/advantage.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "rl/advantage_cases.h"

using namespace zeroth;

namespace {

Group group_of(const std::vector<double>& rewards) {
  Group group;
  for (double reward : rewards) {
    Sample sample;
    sample.reward = reward;
    group.samples.push_back(sample);
  }
  return group;
}

std::vector<double> advantages(std::vector<Group> groups, const AdvantageConfig& config,
                               size_t which = 0) {
  assign_advantages(groups, config);
  std::vector<double> values;
  for (const Sample& sample : groups[which].samples) values.push_back(sample.advantage);
  return values;
}

}  // namespace

TEST_CASE("baselines against hand numbers") {
  const Group group = group_of({1, 0, 0, 1, 1});
  AdvantageConfig config;
  const double m = 0.6;
  SUBCASE("mean") {
    const auto a = advantages({group}, config);
    CHECK(a[0] == doctest::Approx(1 - m));
    CHECK(a[1] == doctest::Approx(-m));
  }
  SUBCASE("population deviation: A+ = sqrt((1-p)/p), A- = -sqrt(p/(1-p))") {
    config.baseline = "mean_std_population";
    config.std_epsilon = 0;
    const auto a = advantages({group}, config);
    CHECK(a[0] == doctest::Approx(std::sqrt(0.4 / 0.6)));
    CHECK(a[1] == doctest::Approx(-std::sqrt(0.6 / 0.4)));
  }
  SUBCASE("sample deviation, epsilon added to it") {
    config.baseline = "mean_std_sample";
    const auto a = advantages({group}, config);
    CHECK(a[0] == doctest::Approx(0.4 / (std::sqrt(1.2 / 4) + 1e-4)));
  }
  SUBCASE("leave one out") {
    config.baseline = "leave_one_out";
    const auto a = advantages({group}, config);
    CHECK(a[0] == doctest::Approx(1 - 2.0 / 4));
    CHECK(a[1] == doctest::Approx(0 - 3.0 / 4));
  }
}

TEST_CASE("constant groups are exactly zero whatever the baseline") {
  // 0.1 sixteen times: the mean rounds, so r - mean is not 0 by arithmetic.
  for (const char* baseline : {"mean", "mean_std_population", "mean_std_sample", "leave_one_out"}) {
    AdvantageConfig config;
    config.baseline = baseline;
    config.std_epsilon = 0;
    std::vector<Group> groups = {group_of(std::vector<double>(16, 0.1f)), group_of({0.1, 0.2})};
    assign_advantages(groups, config);
    CHECK(groups[0].zero_variance);
    for (const Sample& sample : groups[0].samples) CHECK(sample.advantage == 0);
    CHECK(!groups[1].zero_variance);
  }
}

TEST_CASE("masked samples neither count nor get an advantage") {
  Group group = group_of({1, 0, 100});
  group.samples[2].masked = true;
  group.samples[2].advantage = 7;  // left over
  const auto a = advantages({group}, {});
  CHECK(a == std::vector<double>{0.5, -0.5, 0});

  Group single = group_of({1, 0});
  single.samples[1].masked = true;
  std::vector<Group> groups = {single};
  assign_advantages(groups, {});
  CHECK(groups[0].zero_variance);
  CHECK(groups[0].samples[0].advantage == 0);
}

TEST_CASE("leave-one-out over the batch: a sample without others is no advantage of 0") {
  // As TRL's RLOOTrainer with normalize_advantages: deviation of {1, -1}, not of {1, -1, 0}.
  Group single = group_of({1, 0});
  single.samples[1].masked = true;
  AdvantageConfig config;
  config.baseline = "leave_one_out";
  config.normalize = "batch_advantages";
  std::vector<Group> groups = {group_of({1, 0}), single};
  assign_advantages(groups, config);
  CHECK(groups[0].samples[0].advantage == doctest::Approx(1 / (std::sqrt(2.0) + 1e-4)));
  CHECK(groups[0].samples[1].advantage == doctest::Approx(-1 / (std::sqrt(2.0) + 1e-4)));
  CHECK(groups[1].samples[0].advantage == 0);
  CHECK(groups[1].zero_variance);
}

TEST_CASE("per_reward gives distinct reward mixes distinct advantages") {
  const auto sample_of = [](double accuracy, double format) {
    Sample sample;
    sample.verdicts = {{"accuracy", accuracy, 1, Reason::kNone, "", {}},
                       {"format", format, 0.5, Reason::kNone, "", {}}};
    sample.reward = accuracy + 0.5 * format;
    return sample;
  };
  Group mixed;
  mixed.samples = {sample_of(1, 0), sample_of(0, 1), sample_of(0, 0), sample_of(1, 1)};
  Group constant;
  constant.samples = {sample_of(1, 1), sample_of(1, 1)};
  AdvantageConfig config;
  config.per_reward = true;
  std::vector<Group> groups = {mixed, constant};
  assign_advantages(groups, config);
  CHECK(!groups[0].zero_variance);
  CHECK(groups[1].zero_variance);
  CHECK(groups[1].samples[0].advantage == 0);
  // By hand: each reward has mean 0.5 and sample deviation s = sqrt(1/3); z = 0.5 / (s + 1e-4).
  const double z = 0.5 / (std::sqrt(1.0 / 3) + 1e-4);
  const std::vector<double> raw = {z - 0.5 * z, 0.5 * z - z, -1.5 * z, 1.5 * z, 0, 0};
  double squares = 0;
  for (double x : raw) squares += x * x;
  const double scale = std::sqrt(squares / 5) + 1e-4;
  for (int i = 0; i < 4; ++i)
    CHECK(groups[0].samples[i].advantage == doctest::Approx(raw[i] / scale));
}

TEST_CASE("a reward that is not finite is an error that names the problem") {
  Group group = group_of({1, std::numeric_limits<double>::quiet_NaN()});
  group.problem.id = "p17";
  std::vector<Group> groups = {group};
  CHECK_THROWS_WITH_AS(assign_advantages(groups, {}), doctest::Contains("p17"), Error);
}

TEST_CASE("recorded advantages of TRL") {
  const auto results = evaluate_advantage_cases("tests/data/advantages.jsonl");
  CHECK(results.size() == 24);
  for (const AdvantageCaseResult& r : results) {
    CAPTURE(r.id);
    CAPTURE(r.name);
    CHECK(r.difference <= 1e-6);
  }
}

TEST_CASE("pass_at_k against all sets of k, and against the closed form for right and wrong") {
  const auto sets = [](int n, int k) {
    std::vector<int> found;
    for (int bits = 0; bits < 1 << n; ++bits) {
      if (std::popcount(static_cast<unsigned>(bits)) == k) found.push_back(bits);
    }
    return found;
  };
  const auto best = [](const std::vector<double>& r, int bits) {
    double value = -1e9;
    for (size_t i = 0; i < r.size(); ++i) {
      if (bits >> i & 1) value = std::max(value, r[i]);
    }
    return value;
  };
  for (const std::vector<double>& r : {std::vector<double>{1, 0, 0, 1, 0, 0, 0},
                                       {0.5, -1, 0.25, 0.25, 2, -1, 0},
                                       {0.1, 1.1, 0, 0, 0, 0, 0}}) {
    const int n = static_cast<int>(r.size());
    for (int k = 1; k <= n; ++k) {
      CAPTURE(k);
      const auto a = pass_at_k_advantages(r, k, 0);
      double worth = 0, squares = 0;
      const auto all = sets(n, k);
      for (const int bits : all) worth += best(r, bits) / static_cast<double>(all.size());
      for (const int bits : all)
        squares += std::pow(best(r, bits) - worth, 2) / static_cast<double>(all.size());
      double sum = 0;
      for (int i = 0; i < n; ++i) {
        double held = 0, count = 0;
        for (const int bits : all) {
          if (bits >> i & 1) held += best(r, bits), ++count;
        }
        const double expected = squares < 1e-12 ? 0 : (held / count - worth) / std::sqrt(squares);
        CHECK(a[i] == doctest::Approx(expected).epsilon(1e-9));
        sum += a[i];
      }
      CHECK(std::abs(sum) < 1e-9);
    }
  }
  // arXiv 2508.10751: R = 1 - C(Nneg, k) / C(N, k), sigma = sqrt(R (1 - R)).
  const double mean = 1 - 10.0 / 35, sigma = std::sqrt(mean * (1 - mean));
  const auto a = pass_at_k_advantages({1, 0, 0, 1, 0, 0, 0}, 3, 0);
  CHECK(a[0] == doctest::Approx((1 - mean) / sigma));
  CHECK(a[1] == doctest::Approx((1 - mean - 6.0 / 15) / sigma));
}

TEST_CASE("pass_at_k in training: no signal where every set holds a right one") {
  AdvantageConfig config;
  config.baseline = "pass_at_k";
  config.pass_k = 3;
  std::vector<Group> groups = {group_of({1, 1, 0, 0}), group_of({1, 0, 0, 0})};
  assign_advantages(groups, config);
  CHECK(groups[0].zero_variance);
  CHECK(!groups[1].zero_variance);
  CHECK(groups[1].samples[0].advantage > 0);
}

TEST_CASE("REINFORCE++: rewards against the whole batch") {
  AdvantageConfig config;
  config.baseline = "none";
  config.normalize = "batch_advantages";
  std::vector<Group> groups = {group_of({1, 1}), group_of({0, 1})};
  assign_advantages(groups, config);
  const double s = std::sqrt(0.75 / 3) + 1e-4;
  CHECK(groups[0].samples[0].advantage == doctest::Approx(0.25 / s));
  CHECK(groups[1].samples[0].advantage == doctest::Approx(-0.75 / s));
  CHECK(!groups[0].zero_variance);  // above the batch's mean, so there is something to learn
  SUBCASE("a batch of equal rewards teaches nothing") {
    groups = {group_of({1, 1}), group_of({1, 1})};
    assign_advantages(groups, config);
    CHECK(groups[0].zero_variance);
    CHECK(groups[0].samples[0].advantage == 0);
  }
  SUBCASE("with the baseline of the group, constant groups stay at exactly 0") {
    config.baseline = "mean";
    groups = {group_of({0.1, 0.1, 0.1}), group_of({0, 1, 1})};
    assign_advantages(groups, config);
    CHECK(groups[0].samples[0].advantage == 0);
    CHECK(groups[0].zero_variance);
    double squares = 4. / 9 + 2. / 9;
    CHECK(groups[1].samples[0].advantage ==
          doctest::Approx(-2. / 3 / (std::sqrt(squares / 5) + 1e-4)));
  }
}

TEST_CASE("GPG: groups with a signal make up for those without") {
  AdvantageConfig config;
  config.scale_by_signal = true;
  std::vector<Group> groups = {group_of({1, 1}), group_of({0, 1}), group_of({0, 0})};
  assign_advantages(groups, config);
  CHECK(groups[1].samples[1].advantage == doctest::Approx(0.5 * 3));
  CHECK(groups[0].samples[0].advantage == 0);
}

TEST_CASE("advantage settings that contradict each other are refused") {
  AdvantageConfig config;
  config.per_reward = true;
  config.normalize = "batch_rewards";
  CHECK_THROWS_WITH_AS(config.check(), doctest::Contains("advantage.normalize"), Error);
  config = {};
  config.reward_min = 1;
  config.reward_max = 0;
  CHECK_THROWS_WITH_AS(config.check(), doctest::Contains("advantage.reward_min"), Error);
}
