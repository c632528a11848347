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
  health.samples = 100;
  health.checker_errors = 6;
  health.checker_detail = "garbage: its output is no JSON";
  auto rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"checker_errors"});
  CHECK(rung[0].stop);
  CHECK(rung[0].message.find("garbage: its output is no JSON") != std::string::npos);
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
  health.samples = health.checker_errors = 16;
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

TEST_CASE("an alarm that lasts rings again") {
  AlarmConfig config = patient(2);
  config.repeat = 3;
  Alarms alarms(config);
  StepHealth bad = healthy();
  bad.zero_std_share = 1;
  std::string rung;
  for (int step = 0; step < 10; ++step) rung += alarms.check(bad).empty() ? "." : "!";
  CHECK(rung == ".!..!..!..");
  config.repeat = 0;
  Alarms once(config);
  rung.clear();
  for (int step = 0; step < 10; ++step) rung += once.check(bad).empty() ? "." : "!";
  CHECK(rung == ".!........");
}

TEST_CASE("equal groups are explained by what the step showed") {
  const auto said = [](double solved, double masked, double cut) {
    Alarms alarms(patient(1));
    StepHealth health = healthy();
    health.zero_std_share = 1;
    health.solve_rate = solved;
    health.masked_share = masked;
    health.truncated_share = cut;
    return alarms.check(health).at(0).message;
  };
  CHECK(said(1, 0, 0).find("too easy") != std::string::npos);
  CHECK(said(0, 0, 0).find("too hard") != std::string::npos);
  CHECK(said(0, 0, 0.5).find("too hard") != std::string::npos);
  CHECK(said(0, 1, 1).find("masked") != std::string::npos);
  CHECK(said(0.5, 0, 0).find("always right or never") != std::string::npos);
}

TEST_CASE("a reward that falls far below its best is an alarm, noise is not") {
  AlarmConfig config = patient(4);
  config.repeat = 0;
  Alarms alarms(config);
  StepHealth health = healthy();
  health.reward_deviation = 0.45;
  const auto step = [&](double reward) {
    health.reward = reward;
    return names(alarms.check(health));
  };
  for (int i = 0; i < 20; ++i) CHECK(step(0.6 + 0.25 * (i % 2)).empty());
  std::vector<std::string> rung;
  for (int i = 0; i < 8; ++i) {
    for (const std::string& name : step(0)) rung.push_back(name);
  }
  CHECK(rung == std::vector<std::string>{"reward_collapse"});
  // A small negative reward that doubles is no collapse.
  Alarms small(config);
  health.reward_deviation = 0.05;
  for (int i = 0; i < 10; ++i) {
    health.reward = i < 5 ? -0.01 : -0.03;
    CHECK(small.check(health).empty());
  }
}

TEST_CASE("a gradient far above its usual size, and a KL that ran away") {
  Alarms alarms(patient(5));
  StepHealth health = healthy();
  health.grad_norm = 309;
  CHECK(alarms.check(health).empty());  // nothing to compare with yet
  for (int i = 0; i < 20; ++i) {
    health.grad_norm = 0.1 + 0.01 * i;
    CHECK(alarms.check(health).empty());
  }
  health.grad_norm = 309;
  const auto rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"gradient_spike"});
  CHECK(rung[0].message.find("309") != std::string::npos);
  CHECK(!rung[0].stop);
  health = healthy();
  health.kl = 7.3;
  CHECK(names(alarms.check(health)) == std::vector<std::string>{"kl_high"});
}

TEST_CASE("one failed request ends no run that was graded well before") {
  AlarmConfig config = patient(5);
  Alarms alarms(config);
  StepHealth health = healthy();
  health.samples = 16;
  CHECK(alarms.check(health).empty());
  for (int i = 0; i < 3; ++i) {  // a server that restarts costs a step
    health.checker_errors = 16;
    CHECK(alarms.check(health).empty());
    health.checker_errors = 0;
    for (int k = 0; k < 5; ++k) CHECK(alarms.check(health).empty());
  }
  health.checker_errors = 1;  // now and then one of 16
  CHECK(alarms.check(health).empty());
  health.checker_errors = 4;  // twice in a row is no accident
  CHECK(names(alarms.check(health)) == std::vector<std::string>{"checker_errors"});
}

TEST_CASE("a run that makes no update ends when its patience does") {
  Alarms alarms(patient(1000), 3);
  StepHealth health = healthy();
  health.updates = 0;
  health.grad_norm = 0;
  CHECK(alarms.check(health).empty());
  CHECK(alarms.check(health).empty());
  const auto rung = alarms.check(health);
  REQUIRE(names(rung) == std::vector<std::string>{"dead_run"});
  CHECK(rung[0].stop);
  Alarms never(patient(1000), 0);
  for (int i = 0; i < 10; ++i) CHECK(never.check(health).empty());
}

TEST_CASE("windows survive a checkpoint, and states of older versions are read") {
  AlarmConfig config = patient(4);
  Alarms first(config);
  StepHealth health = healthy();
  health.reward = 0.8;
  for (int i = 0; i < 12; ++i) first.check(health);
  health.reward = 0;
  for (int i = 0; i < 2; ++i) CHECK(first.check(health).empty());
  Alarms second(config);
  second.restore(first.state());
  CHECK(second.state() == first.state());
  health.grad_norm = 300;
  CHECK(names(second.check(health)) == names(first.check(health)));
  Alarms old(config);
  CHECK_NOTHROW(old.restore({{"all_groups_equal", 3}}));
  health = healthy();
  health.zero_std_share = 1;
  CHECK(names(old.check(health)) == std::vector<std::string>{"all_groups_equal"});
}
