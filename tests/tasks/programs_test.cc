#include "tasks/builtin/programs.h"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <set>

#include "rewards/format.h"
#include "tasks/builtin/small_function.h"
#include "tasks/corpora/corpus.h"
#include "tasks/task_check.h"

using namespace zeroth;

namespace {

// "12", or "?" when it does not parse or has no value.
std::string run(const std::string& body, int64_t a, int64_t b) {
  const SmallFunction f = SmallFunction::parse("lambda a,b:" + body);
  int64_t value = 0;
  return f.call(a, b, &value) ? std::to_string(value) : "?";
}

}  // namespace

TEST_CASE("small functions: Python's values") {
  CHECK(run("a+b*2", 3, 4) == "11");
  CHECK(run("(a+b)*2", 3, 4) == "14");
  CHECK(run("a-b-1", 3, 4) == "-2");
  CHECK(run("-a*b", 3, 4) == "-12");
  CHECK(run("--a", 3, 4) == "3");
  CHECK(run("a//b", -7, 2) == "-4");
  CHECK(run("a%b", -7, 2) == "1");
  CHECK(run("a%b", 7, -2) == "-1");
  CHECK(run("a//b", 7, -2) == "-4");
  CHECK(run(" max( a , b ) - min(a,b) + abs(a-b)", 3, 5) == "4");
  CHECK(run("a//b", 1, 0) == "?");
  CHECK(run("a%b", 1, 0) == "?");
  CHECK(run("a*999999999999999*999999999999999", 9, 0) == "?");
}

TEST_CASE("small functions: what is refused") {
  for (const char* bad : {"",
                          "a+",
                          "a b",
                          "a**b",
                          "a/b",
                          "c",
                          "ab",
                          "1.5",
                          "1e3",
                          "01",
                          "a if b else a",
                          "max(a)",
                          "max(a,b,a)",
                          "abs(a,b)",
                          "max",
                          "(a",
                          "a)",
                          "__import__('os')",
                          "a;b",
                          "a.b",
                          "print(a)",
                          "lambda a,b:a",
                          "a==b",
                          "a\u00d7b",
                          "\uff41",
                          "a,b",
                          "9999999999999999"}) {
    CAPTURE(bad);
    CHECK(run(bad, 1, 2) == "?");
  }
  CHECK(!SmallFunction::parse("a+b").ok());
  CHECK(!SmallFunction::parse("lambda b,a:a").ok());
  CHECK(SmallFunction::parse("").reason() == Reason::kNoAnswer);
  CHECK(SmallFunction::parse("lambda a,b:" + std::string(300, 'a')).reason() ==
        Reason::kOverBudget);
  CHECK(SmallFunction::parse("lambda a,b:" + std::string(100, '(') + "a").reason() ==
        Reason::kOverBudget);
  CHECK(SmallFunction::parse("lambda a,b:" + std::string(100, '-') + "a").reason() ==
        Reason::kOverBudget);
  CHECK(SmallFunction::parse("lambda a, b : a + b").ok());
}

TEST_CASE("programs: fit for training; two examples fix the function") {
  for (const char* spec : {"programs", "programs:operators=12,max_input=4"}) {
    const auto task = make_task(spec);
    const TaskCheck check = check_task(*task, 100);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
  const auto task = make_task("programs");
  const Problem p = task->problem(Split::kTrain, 0);
  const auto grade = [&](const std::string& answer) {
    return task->grade(p, "<think></think><answer>" + answer + "</answer>", FinishReason::kStop)[0];
  };
  int right = 0;
  for (const char* body : {"a+b", "a-b", "a*b", "max(a,b)", "min(a,b)", "b-a"}) {
    const Verdict v = grade(std::string("lambda a,b:") + body);
    right += v.score == 1;
    CHECK((v.info["examples_right"] == 2) == (v.score == 1));
  }
  CHECK(right == 1);
  CHECK(grade(p.answer + "+0").score == 1);
  CHECK(grade("3").reason == Reason::kParseError);
}

TEST_CASE("programs corpus: careful documents check in order and end on what fits") {
  const auto corpus = make_corpus("programs", {{"share_fitting", 0},
                                               {"share_random", 0},
                                               {"share_sloppy", 0},
                                               {"share_careful", 1},
                                               {"slip", 0}});
  const auto task = make_task("programs");
  std::set<std::string> held_out;
  for (int64_t i = 0; i < task->size(Split::kHeldOut); ++i)
    held_out.insert(task->problem(Split::kHeldOut, i).prompt);
  std::map<std::string, Problem> problems;
  for (int64_t i = 0; i < task->size(Split::kTrain); ++i) {
    const Problem p = task->problem(Split::kTrain, i);
    problems[p.prompt] = p;
    CHECK(!held_out.contains(p.prompt));
  }
  for (int i = 0; i < 500; ++i) {
    const Document doc = corpus->document(1, i);
    REQUIRE(problems.contains(doc.prompt));
    const auto v = task->grade(problems[doc.prompt], doc.response, FinishReason::kStop);
    CHECK_MESSAGE(v[0].score == 1, doc.prompt << doc.response);
    CHECK(v[1].score == 1);
  }
  double thinks = 0, right = 0;
  const auto mixed = make_corpus("programs", Json::object());
  for (int i = 0; i < 4000; ++i) {
    const Document doc = mixed->document(1, i);
    const auto v = task->grade(problems[doc.prompt], doc.response, FinishReason::kStop);
    thinks += v[0].info["thinks"].get<double>();
    right += v[0].info["thinks_right"].get<double>();
  }
  CHECK(thinks / 4000 > 0.42);
  CHECK(thinks / 4000 < 0.48);
  // Thinking pays: that is what makes it grow.
  CHECK(right / thinks > 0.7);
  CHECK_THROWS_AS(make_corpus("programs", {{"share_careful", 0.9}}), Error);
}

TEST_CASE("programs and code tasks in the sandbox") {
  if (!probe_sandbox().sufficient()) {
    MESSAGE("the sandbox does not hold here: skipped");
    return;
  }
  const auto task = make_task("programs:runner=sandbox,workers=2");
  const Problem p = task->problem(Split::kTrain, 0);
  std::vector<std::string> texts = {task->gold_completion(p),
                                    "<think></think><answer>lambda a,b:99</answer>",
                                    "<think></think><answer>lambda a,b:(</answer>", "",
                                    "<think></think><answer>lambda a,b: exit(0)</answer>"};
  std::vector<GradeRequest> requests;
  for (const std::string& text : texts) requests.push_back({&p, text, FinishReason::kStop});
  const auto verdicts = task->grade_batch(requests);
  for (size_t i = 0; i < texts.size(); ++i) {
    CHECK(verdicts[i][0].score == (i == 0 ? 1 : 0));
    CHECK(verdicts[i][0].reason != Reason::kCheckerError);
  }

  const std::string path = "/tmp/zeroth_code_task_test.jsonl";
  std::ofstream(path)
      << R"({"task_id": 1, "text": "Add two numbers.", "code": "def add(a, b):\n    return a + b", "test_list": ["assert add(1, 2) == 3", "assert add(5, 5) == 10"]})"
      << "\n"
      << R"({"task_id": "H/0", "prompt": "def twice(x):\n    \"\"\"Doubles.\"\"\"\n", "entry_point": "twice", "canonical_solution": "    return 2 * x\n", "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n"})"
      << "\n";
  const auto code = make_task("code", {{"path", path}, {"held_out_every", 2}, {"workers", 2}});
  CHECK(code->size(Split::kTrain) + code->size(Split::kHeldOut) == 2);
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t i = 0; i < code->size(split); ++i) {
      const Problem q = code->problem(split, i);
      CHECK(code->grade(q, code->gold_completion(q), FinishReason::kStop)[0].score == 1);
      CHECK(code->grade(q, "I do not know", FinishReason::kStop)[0].score == 0);
    }
  }
  std::remove(path.c_str());
}
