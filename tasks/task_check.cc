#include "tasks/task_check.h"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <set>
#include <stdexcept>

#include "core/stopwatch.h"
#include "core/terminal.h"
#include "tasks/check_texts.h"

namespace zeroth {
namespace {

struct Example {
  Problem problem;
  std::string gold;
};

bool same(const Problem& a, const Problem& b) {
  return a.id == b.id && a.prompt == b.prompt && a.answer == b.answer && a.meta == b.meta;
}

bool same(const std::vector<Verdict>& a, const std::vector<Verdict>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Verdict& x, const Verdict& y) {
    return x.name == y.name && x.score == y.score && x.reason == y.reason &&
           x.extracted == y.extracted && x.info == y.info;
  });
}

constexpr int kMaxErrors = 3;   // checker errors in a row after which grading is given up
constexpr size_t kShown = 160;  // characters of a completion in a message

// Grading that cannot go on.
struct GraderBroken : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Checker {
 public:
  Checker(const Task& task, int n, bool evaluation_only)
      : task_(task), n_(n), evaluation_only_(evaluation_only) {}

  TaskCheck run() {
    for (const std::string& note : task_.notes()) warn("data", note);
    guarded("problems", [&] { problems(); });
    guarded("splits", [&] { splits(); });
    guarded("prompts", [&] { answers_in_prompts(); });
    try {
      grading();
    } catch (const GraderBroken& broken) {
      out_.lines.push_back({"grader", false, broken.what()});
    }
    return finish();
  }

 private:
  void grading() {
    guarded("gold", [&] { gold(); });
    guarded("junk", [&] { junk_answers(); });
    guarded("perturbed", [&] { perturbed_answers(); });
    guarded("echo", [&] { echoes(); });
    guarded("guessing", [&] { guessing(); });
  }

  TaskCheck finish() {
    if (rights_ > 0)
      out_.false_negatives = static_cast<double>(missed_) / static_cast<double>(rights_);
    if (wrongs_ > 0)
      out_.false_positives = static_cast<double>(fooled_) / static_cast<double>(wrongs_);
    if (grades_ > 0) out_.mean_us = total_us_ / static_cast<double>(grades_);
    char text[96];
    std::snprintf(text, sizeof text, "%.1f us on average, %.0f us at most, %lld calls",
                  out_.mean_us, out_.max_us, static_cast<long long>(grades_));
    out_.lines.push_back({"latency", true, text});
    return std::move(out_);
  }

  void warn(const char* name, const std::string& what) {
    out_.lines.push_back({name, true, what});
    out_.lines.back().warning = true;
  }

  void guarded(const char* name, const std::function<void()>& body) {
    try {
      body();
    } catch (const GraderBroken&) {
      throw;
    } catch (const std::exception& error) {
      out_.lines.push_back({name, false, std::string("threw: ") + error.what()});
    }
  }

  void line(const char* name, const std::string& fault, const std::string& fine) {
    out_.lines.push_back({name, fault.empty(), fault.empty() ? fine : fault});
  }

  // The accuracy of one completion; also checks that grading it again gives the same.
  double accuracy(const Problem& problem, const std::string& completion) {
    const double start = steady_now();
    const std::vector<Verdict> verdicts = task_.grade(problem, completion, FinishReason::kStop);
    const double us = 1e6 * (steady_now() - start);
    total_us_ += us;
    out_.max_us = std::max(out_.max_us, us);
    ++grades_;
    if (grades_ % 7 == 0 && !same(verdicts, task_.grade(problem, completion, FinishReason::kStop)))
      unsteady_ = problem.id;
    if (verdicts.empty()) return 0;
    const auto named = std::find_if(verdicts.begin(), verdicts.end(),
                                    [](const Verdict& v) { return v.name == "accuracy"; });
    const Verdict& verdict = named == verdicts.end() ? verdicts[0] : *named;
    count_errors(problem, completion, verdict);
    last_ = verdict;
    return verdict.score;
  }

  // A grader that fails again and again is reported at once, with what it did: each try costs its
  // restarts and waits.
  void count_errors(const Problem& problem, const std::string& completion, const Verdict& verdict) {
    if (verdict.reason != Reason::kCheckerError) {
      errors_ = 0;
      return;
    }
    const Json info = verdict.info.is_object() ? verdict.info : Json::object();
    const std::string fault = info.value("fault", "") + ": " + info.value("detail", "");
    broken_ = problem.id + ": " + printable_line(completion, 60) + " (" + fault + ")";
    if (++errors_ < kMaxErrors) return;
    throw GraderBroken("the grader gives no verdict, " + std::to_string(errors_) +
                       " times in a row; the last: " + fault);
  }

  void problems() {
    std::string fault;
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      const int64_t count = std::min<int64_t>(n_, task_.size(split));
      if (count == 0 && (split == Split::kHeldOut || !evaluation_only_))
        fault = split == Split::kTrain ? "no training problem" : "no held-out problem";
      for (int64_t i = 0; i < count; ++i) {
        const Problem problem = task_.problem(split, i);
        if (!same(problem, task_.problem(split, i)))
          fault = "problem " + problem.id + " is another when asked for again";
        if (problem.prompt.empty()) fault = "problem " + problem.id + " has an empty prompt";
        examples_[split == Split::kHeldOut].push_back({problem, task_.gold_completion(problem)});
      }
    }
    line("problems", fault,
         std::to_string(examples_[0].size()) + " training and " +
             std::to_string(examples_[1].size()) +
             " held-out problems, the same when asked for again");
  }

  void splits() {
    std::set<std::string> prompts, clusters;
    for (const Example& e : examples_[0]) {
      prompts.insert(e.problem.prompt);
      clusters.insert(task_.cluster(e.problem));
    }
    std::string fault;
    std::set<std::string> held_out;
    for (const Example& e : examples_[1]) {
      held_out.insert(task_.cluster(e.problem));
      if (prompts.contains(e.problem.prompt))
        fault = "held-out prompt of " + e.problem.id + " is also in training";
      if (clusters.contains(task_.cluster(e.problem)))
        fault = "cluster of " + e.problem.id + " is also in training";
    }
    line("splits", fault, "disjoint; " + std::to_string(held_out.size()) + " held-out clusters");
  }

  // A prompt that holds its answer trains copying. Short answers stand in many prompts by chance.
  void answers_in_prompts() {
    int64_t hits = 0, count = 0;
    std::string first;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        const std::string& answer = e.problem.answer;
        ++count;
        const bool boxed = e.problem.prompt.find("\\boxed{" + answer + "}") != std::string::npos;
        if (answer.empty() ||
            (!boxed && (answer.size() < 8 || e.problem.prompt.find(answer) == std::string::npos)))
          continue;
        if (hits++ == 0) first = e.problem.id;
      }
    }
    if (hits == 0 || hits * 10 < count) return;
    warn("prompts", "the answer stands in the prompt of " + std::to_string(hits) + " of " +
                        std::to_string(count) + " problems, first " + first);
  }

  void gold() {
    std::string fault;
    int64_t with_gold = 0;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        if (e.gold.empty()) continue;
        ++with_gold;
        for (const std::string& text : rewritings(e.gold)) {
          ++rights_;
          if (accuracy(e.problem, text) >= 1) continue;
          ++missed_;
          if (!fault.empty()) continue;
          fault = "problem " + e.problem.id + ": a right answer is graded " +
                  to_string(last_.reason) + ": " + printable_line(text, kShown);
        }
        const auto weak = last_.info.is_object() ? last_.info.find("weak") : last_.info.end();
        weak_ += last_.info.is_object() && weak != last_.info.end() &&
                 (*weak == true || (weak->is_number() && *weak != 0));
      }
    }
    if (with_gold > 0 && weak_ == with_gold)
      warn("tests",
           "the tests of every problem are weak: a program could fool them (docs/tasks.md)");
    line("gold", fault,
         with_gold == 0
             ? "the task makes no gold completions; not checked"
             : std::to_string(with_gold) + " gold completions right, also with other blanks");
  }

  void junk_answers() {
    std::string fault;
    int64_t count = 0;
    uint32_t index = 0;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        if (index++ >= 50) break;  // a megabyte each
        for (const std::string& text : junk_completions(index)) {
          ++count;
          reject(e.problem, text, &fault);
        }
        if (e.gold.empty() || e.gold.find("<answer>") == std::string::npos) continue;
        // The right answer where it does not count: inside the thinking, and in two answer blocks.
        const auto [begin, end] = answer_range(e.gold);
        const std::string answer = e.gold.substr(begin, end - begin);
        reject(e.problem, "<think><answer>" + answer + "</answer>", &fault);
        reject(e.problem,
               "<think></think><answer>" + answer + "</answer><answer>" + answer + "1</answer>",
               &fault);
        count += 2;
      }
    }
    if (!broken_.empty()) fault = "checker error on " + broken_;
    if (!unsteady_.empty()) fault = "another verdict when graded again: " + unsteady_;
    line("junk", fault, std::to_string(count) + " junk completions wrong");
  }

  void perturbed_answers() {
    std::string fault;
    int64_t count = 0;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        const std::string text = e.gold.empty() ? "" : perturbed(e.gold);
        if (text.empty()) continue;
        ++count;
        reject(e.problem, text, &fault);
      }
    }
    line("perturbed", fault,
         std::to_string(count) + " gold completions with one character changed are wrong");
  }

  // The question as the answer. Some questions hold their answer by chance (the last number of a
  // word problem), so a few hits are no fault of the grader; many mean that it reads its own clues.
  void echoes() {
    int64_t hits = 0, count = 0;
    std::string first;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        ++count;
        if (accuracy(e.problem, "<think></think><answer>" + e.problem.prompt + "</answer>") < 1)
          continue;
        if (hits++ == 0) first = e.problem.id;
      }
    }
    const bool many = hits > 2 && hits * 10 > count;
    line("echo",
         many ? "repeating the prompt is graded right " + std::to_string(hits) + " times, first " +
                    first
              : "",
         "repeating the prompt is right " + std::to_string(hits) + " of " + std::to_string(count) +
             " times");
  }

  void reject(const Problem& problem, const std::string& text, std::string* fault) {
    ++wrongs_;
    if (accuracy(problem, text) < 1) return;
    ++fooled_;
    *fault = "problem " + problem.id + ": graded right: " + printable_line(text, kShown);
  }

  // How often the most common reference answer would be right.
  void guessing() {
    std::map<std::string, int> answers;
    int total = 0, most = 0;
    for (const auto& split : examples_) {
      for (const Example& e : split) {
        if (e.gold.empty()) continue;
        const auto [begin, end] = answer_range(e.gold);
        most = std::max(most, ++answers[e.gold.substr(begin, end - begin)]);
        ++total;
      }
    }
    out_.guess_rate = total == 0 ? 0 : static_cast<double>(most) / total;
    char text[96];
    std::snprintf(text, sizeof text,
                  "always giving the most common answer is right %.1f%% of the time",
                  100 * out_.guess_rate);
    if (total > 0) out_.lines.push_back({"guessing", true, text});
  }

  const Task& task_;
  int n_;
  const bool evaluation_only_;
  TaskCheck out_;
  std::vector<Example> examples_[2];
  int64_t rights_ = 0, missed_ = 0, wrongs_ = 0, fooled_ = 0, grades_ = 0;
  double total_us_ = 0;
  std::string broken_, unsteady_;
  int errors_ = 0;    // checker errors in a row
  int64_t weak_ = 0;  // golds whose verdict came from weak tests alone
  Verdict last_;
};

}  // namespace

TaskCheck check_task(const Task& task, int n, bool evaluation_only) {
  return Checker(task, n, evaluation_only).run();
}

bool TaskCheck::passed() const {
  return std::all_of(lines.begin(), lines.end(), [](const Line& line) { return line.passed; });
}

Json TaskCheck::to_json() const {
  Json checks = Json::array();
  for (const Line& line : lines)
    checks.push_back({{"name", line.name},
                      {"passed", line.passed},
                      {"warning", line.warning},
                      {"detail", line.detail}});
  return {{"passed", passed()},
          {"false_negatives", false_negatives},
          {"false_positives", false_positives},
          {"guess_rate", guess_rate},
          {"mean_us", mean_us},
          {"max_us", max_us},
          {"checks", checks}};
}

std::string TaskCheck::to_text() const {
  std::string text;
  for (const Line& line : lines) {
    std::string name = line.name;
    name.resize(10, ' ');
    const char* mark = !line.passed ? "FAIL  " : line.warning ? "warn  " : "ok    ";
    text += mark + name + " " + printable_line(line.detail, 600) + "\n";
  }
  char rates[128];
  std::snprintf(rates, sizeof rates, "false negatives %.4f, false positives %.4f\n",
                false_negatives, false_positives);
  return text + rates;
}

}  // namespace zeroth
