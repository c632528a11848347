#include "rl/advantage.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "core/error.h"

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
