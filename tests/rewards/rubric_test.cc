#include "rewards/rubric.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace zeroth;

namespace {

Verdict verdict(const std::string& name, double score, double weight = 1,
                Reason reason = Reason::kCorrect) {
  Verdict v;
  v.name = name;
  v.score = score;
  v.weight = weight;
  v.reason = reason;
  return v;
}

Sample sample(int tokens, FinishReason finish = FinishReason::kStop) {
  Sample s;
  s.tokens.assign(static_cast<size_t>(tokens), 1);
  s.finish = finish;
  return s;
}

std::vector<std::string> names(const Sample& s) {
  std::vector<std::string> out;
  for (const Verdict& v : s.verdicts) out.push_back(v.name);
  return out;
}

}  // namespace

TEST_CASE("without parts of its own a rubric sums what the task says") {
  Group group;
  group.samples = {sample(3), sample(4)};
  group.samples[0].reward = 99;  // of an earlier grading
  group.samples[0].verdicts = {verdict("old", 1)};
  Rubric().apply({{verdict("accuracy", 1), verdict("format", 0.5, 0.2)}, {}}, group);
  CHECK(names(group.samples[0]) == std::vector<std::string>{"accuracy", "format"});
  CHECK(group.samples[0].reward == doctest::Approx(1.1));
  CHECK(group.samples[1].reward == 0);
  CHECK(!group.samples[0].masked);
}

TEST_CASE("overlong: the last tokens are punished, and cut samples can be masked") {
  Rubric rubric;
  rubric.max_tokens = 12;
  rubric.overlong.buffer = 4;
  rubric.overlong.penalty = 0.5;
  const auto graded = [&](int tokens, FinishReason finish) {
    Group group;
    group.samples = {sample(tokens, finish)};
    rubric.apply({{verdict("accuracy", 1)}}, group);
    return group.samples[0];
  };
  CHECK(graded(8, FinishReason::kStop).reward == 1);
  CHECK(graded(10, FinishReason::kStop).reward == doctest::Approx(1 - 0.25));
  CHECK(graded(12, FinishReason::kLength).reward == doctest::Approx(0.5));
  CHECK(!graded(12, FinishReason::kLength).masked);
  CHECK(graded(3, FinishReason::kAborted).masked);
  rubric.overlong.mask = true;
  CHECK(graded(12, FinishReason::kLength).masked);
  CHECK(!graded(12, FinishReason::kStop).masked);
}

TEST_CASE("a broken checker masks its sample and is no part of any sum") {
  Rubric rubric;
  rubric.shaping.kimi_length_weight = 2;
  Group group;
  group.samples = {sample(10), sample(20), sample(500)};
  rubric.apply({{verdict("accuracy", 1)},
                {verdict("accuracy", 1)},
                {verdict("accuracy", 5, 1, Reason::kCheckerError), verdict("format", 1)}},
               group);
  CHECK(group.samples[2].masked);
  CHECK(group.samples[2].reward == 1);
  CHECK(names(group.samples[2]) == std::vector<std::string>{"accuracy", "format"});
  // Its length does not count: the others are the shortest and the longest.
  CHECK(group.samples[0].reward == doctest::Approx(1 + 2 * 0.5));
  CHECK(group.samples[1].reward == doctest::Approx(1 - 2 * 0.5));
}

TEST_CASE("parts stand in one order: the task's, overlong, shaping") {
  Rubric rubric;
  rubric.max_tokens = 100;
  rubric.overlong.buffer = 10;
  rubric.shaping.language_weight = 0.5;
  rubric.shaping.process_weight = 4;
  Group group;
  group.samples = {sample(95)};
  group.samples[0].text = "wait 1+1=2";
  rubric.apply({{verdict("accuracy", 1), verdict("process", 1, 0)}}, group);
  CHECK(names(group.samples[0]) ==
        std::vector<std::string>{"accuracy", "process", "overlong", "language"});
  CHECK(group.samples[0].reward == doctest::Approx(1 + 4 - 0.5 + 0.5));
}
