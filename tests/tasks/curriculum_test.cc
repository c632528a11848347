#include "tasks/curriculum.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "tasks/task.h"

using namespace zeroth;

namespace {
CurriculumConfig mode(const std::string& name) {
  CurriculumConfig config;
  config.mode = name;
  return config;
}
}  // namespace

TEST_CASE("prioritised: draws follow 1 - success rate, within floor and ceiling") {
  CurriculumConfig config = mode("prioritised");
  config.floor = 0.1;
  config.ceiling = 0.8;
  ProblemSampler sampler(config, 1, 4, 1);
  sampler.record(0, 16, 16);  // solved: floor 0.1
  sampler.record(1, 8, 16);   // 0.5
  sampler.record(2, 0, 16);   // never: ceiling 0.8
  // problem 3 unseen: ceiling 0.8
  const int n = 40000;
  double count[4] = {};
  for (int i = 0; i < n; ++i) ++count[sampler.draw({})];
  const double expected[4] = {0.1, 0.5, 0.8, 0.8};
  for (int i = 0; i < 4; ++i) {
    const double p = expected[i] / 2.2;
    CAPTURE(i);
    CHECK(std::abs(count[i] / n - p) < 4 * std::sqrt(p * (1 - p) / n));
  }
}

TEST_CASE("prioritised: what is known fades") {
  CurriculumConfig config = mode("prioritised");
  config.forget = 0.5;
  ProblemSampler sampler(config, 1, 10, 1);
  CHECK(sampler.success_rate(3) == -1);
  sampler.record(3, 0, 8);
  sampler.record(3, 8, 8);
  CHECK(sampler.success_rate(3) == doctest::Approx(8.0 / 12));
  CHECK(sampler.problems_seen() == 1);
  sampler.record(4, 0, 0);  // nothing was sampled
  CHECK(sampler.problems_seen() == 1);
}

TEST_CASE("draws of one step are distinct while there are enough problems") {
  for (const char* name : {"uniform", "prioritised"}) {
    ProblemSampler sampler(mode(name), 3, 64, 1);
    for (int step = 0; step < 20; ++step) {
      std::vector<int64_t> taken;
      for (int i = 0; i < 16; ++i) taken.push_back(sampler.draw(taken));
      CHECK(std::set<int64_t>(taken.begin(), taken.end()).size() == 16);
    }
    ProblemSampler tiny(mode(name), 3, 1, 1);
    CHECK(tiny.draw({0}) == 0);
  }
}

TEST_CASE("a restored sampler goes on as the first one would have") {
  for (const char* name : {"uniform", "prioritised", "levels"}) {
    CAPTURE(name);
    CurriculumConfig config = mode(name);
    config.window = 32;
    ProblemSampler a(config, 9, 1000, 3);
    const auto step = [](ProblemSampler& sampler, int n) {
      std::vector<int64_t> drawn;
      for (int i = 0; i < n; ++i) {
        drawn.push_back(sampler.draw(drawn));
        sampler.record(drawn.back(), static_cast<double>(drawn.back() % 9), 8);
      }
      return drawn;
    };
    step(a, 50);
    const std::string saved = a.state().dump();
    ProblemSampler b(config, 9, 1000, 3);
    b.restore(Json::parse(saved));
    CHECK(b.state().dump() == saved);
    CHECK(step(a, 100) == step(b, 100));
    CHECK(a.state().dump() == b.state().dump());
  }
}

TEST_CASE("levels: up when solved, down when lost, with review") {
  CurriculumConfig config = mode("levels");
  config.window = 16;
  config.review = 0.25;
  ProblemSampler sampler(config, 5, 3000, 3);
  for (int i = 0; i < 100; ++i) CHECK(sampler.draw({}) % 3 == 0);
  sampler.record(0, 16, 16);
  CHECK(sampler.level() == 1);
  int below = 0;
  for (int i = 0; i < 4000; ++i) {
    const int64_t level = sampler.draw({}) % 3;
    CHECK(level <= 1);
    below += level == 0;
  }
  CHECK(std::abs(below / 4000.0 - 0.25) < 0.03);
  sampler.record(0, 0, 16);  // another level does not count
  CHECK(sampler.level() == 1);
  sampler.record(1, 8, 16);  // between the bounds: stays
  CHECK(sampler.level() == 1);
  sampler.record(1, 1, 16);
  CHECK(sampler.level() == 0);
  for (int i = 0; i < 5; ++i) sampler.record(sampler.level(), 16, 16);
  CHECK(sampler.level() == 2);
}

TEST_CASE("refusals") {
  CurriculumConfig config = mode("prioritised");
  config.floor = 0.9;
  config.ceiling = 0.5;
  CHECK_THROWS_AS(ProblemSampler(config, 0, 10, 1), Error);
  CHECK_THROWS_AS(ProblemSampler(mode("levels"), 0, 10, 1), Error);
  CHECK_THROWS_AS(ProblemSampler(mode("uniform"), 0, 0, 1), Error);
  ProblemSampler sampler(mode("prioritised"), 0, 10, 1);
  CHECK_THROWS_AS(sampler.restore(Json::object()), Error);
  CHECK_THROWS_AS(sampler.restore(ProblemSampler(mode("uniform"), 0, 10, 1).state()), Error);
  Json state = sampler.state();
  state["problems"] = {{99, 1, 1}};
  CHECK_THROWS_AS(sampler.restore(state), Error);
}

TEST_CASE("a mixture of levels") {
  const auto task = make_task("mixture", Json::parse(R"({"levels": true, "parts": [
      {"task": "parity", "options": {"bits": 8}}, {"task": "parity", "options": {"bits": 16}},
      {"task": "parity", "options": {"bits": 32}}]})"));
  CHECK(task->levels() == 3);
  for (int i = 0; i < 30; ++i) {
    CHECK(task->problem(Split::kTrain, i).prompt.size() == static_cast<size_t>(8 << (i % 3)) + 1);
  }
}
