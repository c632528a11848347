#include "rl/alarms.h"

#include <doctest/doctest.h>

#include <limits>

#include "core/error.h"

using namespace zeroth;

namespace {

StepHealth healthy() {
  StepHealth health;
  health.entropy = 1;
  health.grad_norm = 0.5;
  return health;
}

AlarmConfig patient(int steps) {
  AlarmConfig config;
  config.patience = steps;
  return config;
}

std::vector<std::string> names(const std::vector<Alarm>& alarms) {
  std::vector<std::string> result;
  for (const Alarm& alarm : alarms) result.push_back(alarm.name);
  return result;
}

}  // namespace

TEST_CASE("a healthy step rings nothing") { CHECK(Alarms(AlarmConfig{}).check(healthy()).empty()); }

TEST_CASE(
    "lasting conditions ring once after their patience, and again only after they went away") {
  const std::pair<const char*, void (*)(StepHealth&)> kCases[] = {
      {"all_groups_equal", [](StepHealth& h) { h.zero_std_share = 1; }},
      {"entropy_collapse", [](StepHealth& h) { h.entropy = 0.001; }},
      {"mostly_truncated", [](StepHealth& h) { h.truncated_share = 0.6; }}};
  for (const auto& [name, spoil] : kCases) {
    CAPTURE(name);
    Alarms alarms(patient(3));
    StepHealth bad = healthy();
    spoil(bad);
    CHECK(alarms.check(bad).empty());
    CHECK(alarms.check(bad).empty());
    const auto rung = alarms.check(bad);
    REQUIRE(names(rung) == std::vector<std::string>{name});
    CHECK(!rung[0].stop);
    CHECK(alarms.check(bad).empty());
    CHECK(alarms.check(healthy()).empty());
    CHECK(alarms.check(bad).empty());
    CHECK(alarms.check(bad).empty());
    CHECK(names(alarms.check(bad)) == std::vector<std::string>{name});
  }
}

TEST_CASE("faults ring at once and stop") {
  Alarms alarms(patient(5));
  StepHealth health = healthy();
  health.checker_error_share = 0.06;
  auto rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"checker_errors"});
  CHECK(rung[0].stop);
  CHECK(health.sound());

  health = healthy();
  health.grad_norm = std::numeric_limits<double>::quiet_NaN();
  rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"gradient_nan"});
  CHECK(rung[0].stop);
  CHECK(!health.sound());

  health = healthy();
  health.logp_difference_max = 1e-7;
  rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"logp_mismatch"});
  CHECK(rung[0].stop);
}

TEST_CASE("stop_on chooses which alarms stop, and an unknown name is refused") {
  AlarmConfig config = patient(1);
  config.stop_on = {"all_groups_equal"};
  Alarms alarms(config);
  StepHealth health = healthy();
  health.zero_std_share = 1;
  health.checker_error_share = 1;
  const auto rung = alarms.check(health);
  REQUIRE(rung.size() == 2);
  CHECK(rung[0].stop);
  CHECK(!rung[1].stop);
  config.stop_on = {"entropy_colapse"};
  CHECK_THROWS_WITH_AS(Alarms{config}, doctest::Contains("entropy_collapse"), Error);
}

TEST_CASE("counts survive a checkpoint") {
  StepHealth bad = healthy();
  bad.zero_std_share = 1;
  Alarms first(patient(3));
  first.check(bad);
  first.check(bad);
  Alarms second(patient(3));
  second.restore(first.state());
  CHECK(second.check(bad).size() == 1);
}
