#include "tasks/builtin/countdown.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "rewards/expression.h"
#include "tasks/builtin/countdown_moves.h"
#include "tasks/builtin/countdown_trace.h"

using namespace zeroth;

namespace {
const std::vector<int64_t> k699 = {6, 9, 9};
Problem problem_of(std::vector<int> numbers, int target) {
  Problem p;
  p.task = "countdown";
  p.answer = std::to_string(target);
  p.meta = {{"nums", numbers}, {"target", target}};
  return p;
}
}  // namespace

TEST_CASE(
    "train and held-out multisets are disjoint, problems solvable, intervals have enough "
    "clusters") {
  const CountdownTask task{CountdownOptions{}};
  std::set<std::string> sets[2];
  std::set<std::string> prompts;
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t i = 0; i < task.size(split); ++i) {
      const Problem p = task.problem(split, i);
      sets[split == Split::kHeldOut].insert(task.cluster(p));
      const auto numbers = p.meta["nums"].get<std::vector<int>>();
      const int target = p.meta["target"].get<int>();
      CHECK(prompts.insert(task.cluster(p) + ">" + std::to_string(target)).second);
      CHECK(std::find(numbers.begin(), numbers.end(), target) == numbers.end());
      if (i % 37 == 0) {
        bool solved = false;
        for (const CountdownTry& t : all_countdown_tries(numbers, 40)) {
          if (t.value != target) continue;
          solved = true;
          const auto verdicts = task.grade(
              p, "<think></think><answer>" + t.expression + "</answer>", FinishReason::kStop);
          CHECK(verdicts[0].score == 1);
          CHECK(verdicts[1].score == 1);
        }
        CHECK(solved);
      }
    }
  }
  for (const std::string& key : sets[1]) CHECK(!sets[0].contains(key));
  CHECK(sets[0].size() + sets[1].size() == 816);
  // 512 held-out problems cover every held-out multiset.
  std::set<std::string> covered;
  for (int i = 0; i < 512; ++i) covered.insert(task.cluster(task.problem(Split::kHeldOut, i)));
  CHECK(covered.size() == sets[1].size());
  CHECK(covered.size() >= 200);
}

TEST_CASE("splits hang on a hash that must never change") {
  CHECK(stable_hash("") == 0xefd01f60ba992926u);
  CHECK(stable_hash("3,5,7") == 16718297173901102857u);
  const CountdownTask task{CountdownOptions{}};
  CHECK(task.size(Split::kTrain) > 4000);
  CHECK(task.size(Split::kHeldOut) > 1500);
}

TEST_CASE("wide ranges are drawn, disjoint all the same") {
  for (const int count : {4, 5, 6}) {
    CountdownOptions options;
    options.count = count;
    options.max_number = 50;
    options.max_value = 100;
    const CountdownTask task{options};
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      for (int i = 0; i < 40; ++i) {
        const Problem p = task.problem(split, i);
        CHECK(p.prompt == task.problem(split, i).prompt);
        CHECK(is_held_out(task.cluster(p), 3) == (split == Split::kHeldOut));
        CHECK(p.meta["nums"].size() == static_cast<size_t>(count));
      }
    }
  }
}

TEST_CASE("data files: own rows, split by multiset or by a held-out file") {
  const std::string path = "/tmp/zeroth_countdown_test.jsonl",
                    held = "/tmp/zeroth_countdown_held.jsonl";
  std::ofstream(path)
      << "{\"nums\": [54, 51, 93, 7], \"target\": 84}\n{\"nums\": [3, 5, 7], \"target\": 21}\n"
         "{\"nums\": [7, 5, 3], \"target\": 38}\n";
  std::ofstream(held) << "{\"nums\": [5, 3, 7], \"target\": 9}\n";
  CountdownOptions options;
  options.data = path;
  options.held_out_data = held;
  const CountdownTask task{options};
  CHECK(task.size(Split::kTrain) == 1);
  CHECK(task.size(Split::kHeldOut) == 1);
  CHECK(task.problem(Split::kTrain, 0).prompt == "Numbers 54 51 93 7 target 84\n");

  std::ofstream(path) << "{\"nums\": [3], \"target\": 84}\n";
  CHECK_THROWS_WITH_AS(CountdownTask{options}, doctest::Contains(":1: nums has 1 numbers"), Error);
  std::ofstream(path) << "{\"nums\": [3, \"x\"], \"target\": 84}\n";
  CHECK_THROWS_AS(CountdownTask{options}, Error);
  std::ofstream(path) << "{\"nums\": [3, 4]}\n";
  CHECK_THROWS_AS(CountdownTask{options}, Error);
  std::remove(path.c_str());
  std::remove(held.c_str());
}

TEST_CASE("grading: reasons and facts") {
  const CountdownTask task{CountdownOptions{}};
  const Problem p = problem_of({6, 9, 9}, 24);
  const auto grade = [&](const std::string& text, FinishReason finish = FinishReason::kStop) {
    return task.grade(p, text, finish);
  };
  auto v = grade(
      "<think>9+9=18 18-6=12->24no wait 9+6=15 15+9=24->24ok</think><answer>(9+6)+9</answer>");
  CHECK(v[0].score == 1);
  CHECK(v[0].reason == Reason::kCorrect);
  CHECK(v[0].info["tries"] == 2);
  CHECK(v[0].info["steps"] == 4);
  CHECK(v[0].info["steps_right"] == 4);
  CHECK(v[0].info["verdicts"] == 2);
  CHECK(v[0].info["verdicts_right"] == 2);
  CHECK(v[0].info["wait"] == 1);
  CHECK(v[0].info["illegal_tries"] == 0);
  CHECK(v[0].info["right_after_wrong_try"] == 1);
  CHECK(v[1].reason == Reason::kFormatOk);
  CHECK(v[1].weight == 0.1);

  // Right at once is no turn; neither is a wrong try that was called ok.
  CHECK(grade("<think>9+6=15 15+9=24->24ok</think><answer>(9+6)+9</answer>")[0]
            .info["right_after_wrong_try"] == 0);
  CHECK(
      grade("<think>9+9=18 18-6=12->24ok\n9+6=15 15+9=24->24ok</think><answer>(9+6)+9</answer>")[0]
          .info["right_after_wrong_try"] == 0);
  // A hit that was judged no is no miss.
  CHECK(
      grade("<think>9+6=15 15+9=24->24no\n9+6=15 15+9=24->24ok</think><answer>(9+6)+9</answer>")[0]
          .info["right_after_wrong_try"] == 0);

  v = grade("<think>9+9=18 18-6=12->24no wait 9+6", FinishReason::kLength);
  CHECK(v[0].reason == Reason::kTruncated);
  CHECK(v[1].reason == Reason::kTruncated);
  CHECK(v[0].info["illegal_tries"] == 1);  // the cut try

  CHECK(grade("<think></think><answer>9+9</answer>")[0].reason == Reason::kIllegal);
  CHECK(grade("<think></think><answer>9+9-6</answer>")[0].reason == Reason::kWrong);
  CHECK(grade("(9+6)+9")[0].reason == Reason::kNoAnswer);
  CHECK(grade("<think><answer>(9+6)+9</answer></think>")[0].reason == Reason::kNoAnswer);
  CHECK(grade("<think></think><answer>(9+6)+9</answer><answer>9</answer>")[0].reason ==
        Reason::kNoAnswer);
}

TEST_CASE("the opening tag in the prompt") {
  CountdownOptions options;
  options.prompt_template = "r1_zero_think";
  const CountdownTask task{options};
  const Problem p = task.problem(Split::kTrain, 0);
  CHECK(p.prompt.ends_with("Assistant: <think>"));
  const Problem q = problem_of({6, 9, 9}, 24);
  auto v = task.grade(q, "9+9=18 18-6=12 no</think> <answer>(9+6)+9</answer>", FinishReason::kStop);
  CHECK(v[0].score == 1);
  CHECK(v[1].score == 1);
  CHECK(v[0].info["tries"] == 1);
  v = task.grade(q, "<think>x</think><answer>(9+6)+9</answer>", FinishReason::kStop);
  CHECK(v[1].score == 0);

  options.prompt_template = "no place";
  CHECK_THROWS_AS(CountdownTask{options}, Error);
  options.prompt_template = "Q: {question}\nA:";
  options.stop_at_answer = true;
  const CountdownTask stopped{options};
  CHECK(stopped.stop_strings() == std::vector<std::string>{"</answer>"});
  v = stopped.grade(q, "<think>x</think><answer>(9+6)+9", FinishReason::kStop);
  CHECK(v[0].score == 1);
  CHECK(v[1].score == 1);
}

TEST_CASE("trace parser: forms of a try") {
  const auto parse = [](std::string_view text) { return parse_countdown_trace(text, k699); };
  CHECK(parse("").tries.empty());
  CHECK(parse("let me think\nhmm").tries.empty());
  auto t = parse("9 + 6 = 15, 15 + 9 = 24 -> 24 ok");
  REQUIRE(t.tries.size() == 1);
  CHECK(t.tries[0].legal);
  CHECK(t.tries[0].expression == "(9+6)+9");
  CHECK(t.tries[0].verdict == TryVerdict::kOk);
  t = parse("(9+6)+9=24 no");
  REQUIRE(t.tries.size() == 1);
  CHECK(t.tries[0].hits(24));
  CHECK(t.tries[0].verdict == TryVerdict::kNo);
  // Sums in another order are the same try; differences are not.
  t = parse("9+6=15 15+9=24no\n6+9=15 9+15=24no\n9-6=3 9-3=6no Wait 9-6=3 3-9=-6no");
  REQUIRE(t.tries.size() == 4);
  CHECK(t.waits == 1);
  CHECK(!t.tries[0].duplicate);
  CHECK(t.tries[1].duplicate);
  CHECK(!t.tries[2].duplicate);
  CHECK(!t.tries[3].duplicate);
  CHECK(t.tries[3].after_wait);
  // Foreign numbers, numbers left over, a number twice, unreadable claims.
  for (const char* bad : {"9+7=16 16+9=25no", "9+6=15no", "9+6=15 15+9=24 24+9=33no",
                          "9+6=x 15+9=24no", "9+6", "9**6=3"}) {
    CAPTURE(bad);
    t = parse(bad);
    REQUIRE(t.tries.size() == 1);
    CHECK(!t.tries[0].legal);
  }
  // A wrong result is legal as long as it is what the next step goes on with.
  t = parse("9+6=14 14+9=23->24no");
  CHECK(t.tries[0].legal);
  CHECK(t.tries[0].steps_right == 1);
  CHECK(t.tries[0].hits(24));
  CHECK(!t.tries[0].claims(24));
  // A later result may equal a given number.
  CHECK(parse_countdown_trace("2*3=6 6+6=12ok", std::vector<int64_t>{2, 3, 6}).tries[0].legal);
}

TEST_CASE("trace parser: bounded on junk") {
  std::string text;
  for (int i = 0; i < 200000; ++i) text += "9=";
  CHECK(parse_countdown_trace(text, k699).tries.size() == 1);
  text.clear();
  for (int i = 0; i < 200000; ++i) text += "wait 9=9\n";
  CHECK(parse_countdown_trace(text, k699).tries.size() == CountdownTrace::kMaxTries);
  text.assign(1000000, '(');
  text += "1=1";
  CHECK(parse_countdown_trace(text, k699).tries.size() == 1);
}
