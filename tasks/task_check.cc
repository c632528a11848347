#include "tasks/task_check.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <map>
#include <set>

#include "core/rng.h"

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

// Completions that no task should reward, whatever its problem.
std::vector<std::string> junk(const Problem& problem, uint32_t index) {
  std::vector<std::string> texts = {"",
                                    " \n",
                                    ":",
                                    "{",
                                    "Thought process:",
                                    "<think>",
                                    "</think>",
                                    "<answer>",
                                    "</answer>",
                                    "<think></think><answer></answer>",
                                    "<think></think><answer> </answer>",
                                    "<think></think><answer>I do not know</answer>",
                                    "<think></think><answer>the answer</answer>",
                                    problem.prompt};
  if (index <= 5) texts.emplace_back(1 << 20, 'a');
  std::string tags, bytes;
  for (int i = 0; i < 200; ++i) tags += "<think><answer></think></answer>";
  texts.push_back(tags);
  Rng rng(0x6a756e6b, index);
  for (int i = 0; i < 300; ++i) bytes += static_cast<char>(rng.below(256));
  texts.push_back(bytes);
  return texts;
}

// The place of the answer inside a completion: its answer block, or what follows the thinking.
std::pair<size_t, size_t> answer_range(const std::string& text) {
  const size_t open = text.rfind("<answer>");
  if (open != std::string::npos) {
    const size_t close = text.find("</answer>", open);
    return {open + 8, close == std::string::npos ? text.size() : close};
  }
  const size_t think = text.rfind("</think>");
  return {think == std::string::npos ? 0 : think + 8, text.size()};
}

// Gold with the last letter or digit of its answer changed; empty when there is none.
std::string perturbed(const std::string& gold) {
  const auto [begin, end] = answer_range(gold);
  for (size_t at = end; at > begin; --at) {
    const char c = gold[at - 1];
    std::string text = gold;
    if (c >= '0' && c <= '9') {
      text[at - 1] = c == '9' ? '8' : static_cast<char>(c + 1);
      return text;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      text[at - 1] = (c | 0x20) == 'z' ? static_cast<char>(c - 1) : static_cast<char>(c + 1);
      return text;
    }
  }
  return {};
}

std::vector<std::string> rewritings(const std::string& gold) {
  const auto [begin, end] = answer_range(gold);
  const std::string answer = gold.substr(begin, end - begin);
  const std::string before = gold.substr(0, begin), after = gold.substr(end);
  return {gold, gold + "\n", before + " " + answer + " " + after,
          before + "\n" + answer + "\n" + after};
}

class Checker {
 public:
  Checker(const Task& task, int n) : task_(task), n_(n) {}

  TaskCheck run() {
    guarded("problems", [&] { problems(); });
    guarded("splits", [&] { splits(); });
    guarded("gold", [&] { gold(); });
    guarded("junk", [&] { junk_answers(); });
    guarded("perturbed", [&] { perturbed_answers(); });
    guarded("echo", [&] { echoes(); });
    guarded("guessing", [&] { guessing(); });
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

 private:
  void guarded(const char* name, const std::function<void()>& body) {
    try {
      body();
    } catch (const std::exception& error) {
      out_.lines.push_back({name, false, std::string("threw: ") + error.what()});
    }
  }

  void line(const char* name, const std::string& fault, const std::string& fine) {
    out_.lines.push_back({name, fault.empty(), fault.empty() ? fine : fault});
  }

  // The accuracy of one completion; also checks that grading it again gives the same.
  double accuracy(const Problem& problem, const std::string& completion) {
    const auto start = std::chrono::steady_clock::now();
    const std::vector<Verdict> verdicts = task_.grade(problem, completion, FinishReason::kStop);
    const double us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    total_us_ += us;
    out_.max_us = std::max(out_.max_us, us);
    ++grades_;
    if (grades_ % 7 == 0 && !same(verdicts, task_.grade(problem, completion, FinishReason::kStop)))
      unsteady_ = problem.id;
    for (const Verdict& verdict : verdicts) {
      if (verdict.reason == Reason::kCheckerError)
        broken_ = problem.id + ": " + completion.substr(0, 60);
      if (verdict.name == "accuracy") return verdict.score;
    }
    return verdicts.empty() ? 0 : verdicts[0].score;
  }

  void problems() {
    std::string fault;
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      const int64_t count = std::min<int64_t>(n_, task_.size(split));
      if (count == 0)
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
          fault = "problem " + e.problem.id +
                  ": a right answer is graded wrong: " + text.substr(0, 120);
        }
      }
    }
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
        for (const std::string& text : junk(e.problem, index)) {
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
    *fault = "problem " + problem.id + ": graded right: " + text.substr(0, 120);
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
  TaskCheck out_;
  std::vector<Example> examples_[2];
  int64_t rights_ = 0, missed_ = 0, wrongs_ = 0, fooled_ = 0, grades_ = 0;
  double total_us_ = 0;
  std::string broken_, unsteady_;
};

}  // namespace

TaskCheck check_task(const Task& task, int n) { return Checker(task, n).run(); }

bool TaskCheck::passed() const {
  return std::all_of(lines.begin(), lines.end(), [](const Line& line) { return line.passed; });
}

Json TaskCheck::to_json() const {
  Json checks = Json::array();
  for (const Line& line : lines)
    checks.push_back({{"name", line.name}, {"passed", line.passed}, {"detail", line.detail}});
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
    text += (line.passed ? "ok    " : "FAIL  ") + name + " " + line.detail + "\n";
  }
  char rates[128];
  std::snprintf(rates, sizeof rates, "false negatives %.4f, false positives %.4f\n",
                false_negatives, false_positives);
  return text + rates;
}

}  // namespace zeroth
