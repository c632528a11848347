#include "tasks/builtin/draw.h"

#include <doctest/doctest.h>

#include <set>

#include "core/error.h"

namespace zeroth {
namespace {

std::unique_ptr<Task> draw(const Json& options) { return make_task("draw", options); }

// Problem of this prompt, in whichever split it is.
Problem of_prompt(const Task& task, const std::string& words) {
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t i = 0; i < task.size(split); ++i) {
      Problem problem = task.problem(split, i);
      if (problem.prompt == words + "<begin_of_image>") return problem;
    }
  }
  FAIL("no prompt " << words);
  return {};
}

std::string refused(const Json& options) {
  try {
    draw(options);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("draw: runs along rows and columns") {
  const auto task = draw({});
  CHECK(of_prompt(*task, "2 red 1 blue in a row").answer == "[red][red][blue][.][.][.][.][.][.]");
  CHECK(of_prompt(*task, "2 red 3 blue in a row").answer ==
        "[red][red][blue][blue][blue][.][.][.][.]");
  CHECK(of_prompt(*task, "3 green 1 red in a column").answer ==
        "[green][red][.][green][.][.][green][.][.]");
}

TEST_CASE("draw: splits are disjoint, every prompt stands once, and full marks are possible") {
  const auto task = draw({{"rows", 2}, {"columns", 5}, {"score", "all"}});
  std::set<std::string> prompts;
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    CHECK(task->size(split) > 0);
    for (int64_t i = 0; i < task->size(split); ++i) {
      const Problem problem = task->problem(split, i);
      CHECK(prompts.insert(problem.prompt).second);
      const Verdict verdict =
          task->grade(problem, task->gold_completion(problem), FinishReason::kStop)[0];
      CHECK(verdict.score == 1);
      CHECK(verdict.reason == Reason::kCorrect);
    }
  }
  // Two orders, one run of 3 lengths and colours, or two of different colours.
  CHECK(prompts.size() == 2 * (9 + 9 * 6));
}

TEST_CASE("draw: the share of right cells, or all of them") {
  const auto share = draw({}), all = draw({{"score", "all"}});
  const Problem problem = of_prompt(*share, "2 red 1 blue in a row");
  const std::string nearly = "[red][red][green][.][.][.][.][.][.]";
  const Verdict verdict = share->grade(problem, nearly, FinishReason::kStop)[0];
  CHECK(verdict.score == doctest::Approx(8.0 / 9));
  CHECK(verdict.reason == Reason::kWrong);
  CHECK(verdict.info["whole"] == 0);
  CHECK(all->grade(problem, nearly, FinishReason::kStop)[0].score == 0);
  CHECK(all->grade(problem, problem.answer, FinishReason::kStop)[0].score == 1);
}

TEST_CASE("draw: what is no picture gets nothing") {
  const auto task = draw({});
  const Problem problem = of_prompt(*task, "2 red 1 blue in a row");
  const auto grade = [&](const std::string& text, FinishReason finish = FinishReason::kStop) {
    return task->grade(problem, text, finish)[0];
  };
  for (const std::string& text :
       {problem.answer + "[.]", problem.answer.substr(3), "red red blue" + problem.answer,
        problem.answer + problem.answer, std::string("[red][red][blue][.][.][.][.][.]["),
        std::string("]]]]]]]]]"), std::string("[[red]][red]")}) {
    CAPTURE(text);
    CHECK(grade(text).score == 0);
    CHECK(grade(text).reason == Reason::kParseError);
  }
  CHECK(grade("").reason == Reason::kNoAnswer);
  CHECK(grade("[red]", FinishReason::kLength).reason == Reason::kTruncated);
  CHECK(grade("[violet][red][blue][.][.][.][.][.][.]").score == doctest::Approx(8.0 / 9));
}

TEST_CASE("draw: options that cannot be are refused") {
  CHECK(contains(refused({{"score", "some"}}), "score is \"some\""));
  CHECK(contains(refused({{"colours", Json::array()}}), "colours has 0 names"));
  CHECK(contains(refused({{"colours", {"red", "red"}}}), "\"red\" is given twice"));
  CHECK(contains(refused({{"colours", {"a]b"}}}), "\"a]b\""));
  CHECK(contains(refused({{"rows", 0}}), "rows"));
  CHECK(contains(
      refused({{"runs", 3},
               {"longest_run", 9},
               {"rows", 64},
               {"columns", 64},
               {"colours",
                {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"}}}),
      "prompts"));
}

}  // namespace zeroth
