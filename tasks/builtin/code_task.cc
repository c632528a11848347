#include "tasks/builtin/code_task.h"

#include <algorithm>
#include <cstdio>
#include <mutex>
#include <set>

#include "tasks/rows.h"

namespace zeroth {
namespace {

std::string id_text(const Json& id) { return id.is_string() ? id.get<std::string>() : id.dump(); }

std::string id_of(const Json& row, const std::string& place) {
  for (const char* name : {"task_id", "id", "question_id", "problem_id"}) {
    if (row.contains(name) && !row[name].is_null()) return id_text(row[name]);
  }
  return place;
}

std::vector<std::string> split_paths(const std::string& text) {
  std::vector<std::string> paths;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(':', at), text.size());
    if (end > at) paths.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return paths;
}

}  // namespace

CodeOptions SandboxOptions::code_options() const {
  CodeOptions code;
  code.limits.wall_seconds = time_limit;
  code.limits.memory_bytes = int64_t{memory_mb} << 20;
  code.total_seconds = total_time_limit;
  code.partial_credit = partial_credit;
  code.packages = split_paths(packages);
  return code;
}

std::unique_ptr<SandboxPool> make_sandbox_pool(const SandboxOptions& options) {
  const SandboxProbe& probe = probe_sandbox();
  if (!probe.sufficient()) {
    fail("programs cannot be run safely on this machine:\n" + probe.text(),
         "run where user namespaces and seccomp are allowed, with python3 below /usr");
  }
  // Said once, whatever the number of tasks.
  static std::once_flag said;
  std::call_once(said, [&] {
    for (const SandboxProbe::Layer& layer : probe.layers) {
      if (!layer.holds)
        std::fprintf(stderr, "code sandbox: %s is absent: %s\n", layer.name.c_str(),
                     layer.detail.c_str());
    }
  });
  return std::make_unique<SandboxPool>(options.workers);
}

Verdict code_accuracy(const CodeVerdict& code, const std::string& program) {
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.score = code.score;
  verdict.reason = code.reason;
  verdict.extracted = program.substr(0, 4096);
  verdict.info = {{"tests", code.total}, {"tests_right", code.passed}, {"weak", code.weak ? 1 : 0}};
  if (!code.detail.empty()) verdict.info["detail"] = code.detail;
  if (code.reason == Reason::kCheckerError) verdict.info["fault"] = "sandbox";
  if (code.reason == Reason::kBadGold) {
    verdict.reason = Reason::kCheckerError;
    verdict.info["fault"] = "tests";
  }
  return verdict;
}

CodeTask::CodeTask(std::string name, CodeTaskOptions options)
    : name_(std::move(name)), options_(std::move(options)) {
  options_.render("");
  if (options_.path.empty()) {
    fail_usage("task " + name_ + ": no path",
               "give the data file, for example " + name_ + ":path=problems.jsonl");
  }
  pool_ = make_sandbox_pool(options_);
  read();
}

CodeTask::~CodeTask() = default;

void CodeTask::read() {
  struct Source {
    Json json;
    std::string place;
    bool held_out_file;
  };
  std::vector<std::string> texts;
  std::vector<Source> sources;
  const auto take = [&](const std::string& path, bool held_out_file) {
    for_each_row_text(path, [&](const Json& json, std::string_view text, const std::string& place) {
      texts.emplace_back(text);
      sources.push_back({json, place, held_out_file});
    });
  };
  if (!options_.held_out_path.empty()) take(options_.held_out_path, true);
  if (options_.path != options_.held_out_path) take(options_.path, false);
  std::vector<LoadedTests> loaded = load_code_tests(texts, *pool_);
  std::set<std::string> reserved;
  for (size_t i = 0; i < sources.size(); ++i) {
    const Json& json = sources[i].json;
    Row row;
    row.id = id_of(json, sources[i].place);
    row.place = sources[i].place;
    ++total_;
    CodeRowText text =
        read_code_row(json, texts[i], loaded[i].tests, sources[i].place, options_.show_tests);
    if (loaded[i].error.empty() && loaded[i].tests.weak && options_.weak_tests == "drop")
      loaded[i].error = "its tests are weak, and weak_tests is drop";
    if (!loaded[i].error.empty()) {
      ++skipped_;
      constexpr size_t kMostReasons = 5;
      if (reasons_.size() < kMostReasons) reasons_.push_back(row.id + ": " + loaded[i].error);
      continue;
    }
    if (sources[i].held_out_file) reserved.insert(text.question);
    if (!sources[i].held_out_file && reserved.contains(text.question)) continue;
    const bool held_out =
        sources[i].held_out_file ||
        (options_.held_out_path.empty() && is_held_out(text.question, options_.held_out_every));
    row.prompt = text.messages.is_null()
                     ? options_.render(text.question)
                     : options_.render_messages(text.messages, Json(), sources[i].place);
    row.solution = std::move(text.solution);
    row.shape = std::move(text.shape);
    row.tests = std::move(loaded[i].tests);
    weak_ += row.tests.weak;
    index_[held_out ? 1 : 0].push_back(rows_.size());
    rows_.push_back(std::move(row));
  }
  if (rows_.empty()) {
    fail("task " + name_ + ": no problem of " + options_.path + " has tests that load; first: " +
             (reasons_.empty() ? "the file is empty" : reasons_[0]),
         "rows need test_list, asserts, test with entry_point, or tests with inputs and outputs");
  }
}

std::vector<std::string> CodeTask::notes() const {
  std::vector<std::string> notes;
  if (skipped_ > 0) {
    std::string note = std::to_string(skipped_) + " of " + std::to_string(total_) + " rows of " +
                       options_.path + " are left out:";
    for (size_t i = 0; i < reasons_.size(); ++i) note += (i == 0 ? " " : "; ") + reasons_[i];
    if (static_cast<size_t>(skipped_) > reasons_.size()) note += "; ..";
    notes.push_back(note);
  }
  if (weak_ > 0) {
    notes.push_back(
        std::to_string(weak_) + " of " + std::to_string(rows_.size()) +
        " rows have weak tests, which a submission could fool (weak_tests=mask or drop)");
  }
  return notes;
}

int64_t CodeTask::size(Split split) const {
  return static_cast<int64_t>(index_[split == Split::kHeldOut].size());
}

Problem CodeTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const size_t at = index_[split == Split::kHeldOut][static_cast<size_t>(index)];
  Problem problem;
  problem.task = name_;
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + rows_[at].id;
  problem.prompt = rows_[at].prompt;
  problem.meta = {{"row", at}};
  return problem;
}

ProblemOrigin CodeTask::origin(Split split, int64_t index) const {
  return {rows_[index_[split == Split::kHeldOut].at(static_cast<size_t>(index))].place, "", false};
}

const CodeTask::Row& CodeTask::row_of(const Problem& problem) const {
  return rows_.at(problem.meta.at("row").get<size_t>());
}

std::vector<std::vector<Verdict>> CodeTask::grade_batch(
    std::span<const GradeRequest> requests) const {
  const FormatRules rules = options_.format_rules();
  std::vector<CodeSubmission> submissions;
  for (const GradeRequest& request : requests) {
    const Row& row = row_of(*request.problem);
    submissions.push_back({extract_program(request.completion, rules, row.shape), &row.tests});
  }
  std::vector<CodeVerdict> codes(submissions.size());
  try {
    codes = grade_code(submissions, options_.code_options(), *pool_);
  } catch (const Error& error) {
    for (CodeVerdict& code : codes) {
      code.reason = Reason::kCheckerError;
      code.detail = error.what();
    }
  }
  std::vector<std::vector<Verdict>> results;
  for (size_t i = 0; i < requests.size(); ++i) {
    Verdict accuracy = code_accuracy(codes[i], submissions[i].program);
    if (codes[i].weak && options_.weak_tests != "use" && accuracy.reason != Reason::kCheckerError) {
      accuracy.score = 0;
      accuracy.reason = Reason::kCheckerError;
      accuracy.info["fault"] = "weak_tests";
    }
    if (requests[i].finish == FinishReason::kLength && accuracy.score == 0 &&
        accuracy.reason != Reason::kCheckerError) {
      accuracy.reason = Reason::kTruncated;
    }
    results.push_back(
        options_.verdicts(std::move(accuracy), requests[i].completion, requests[i].finish));
  }
  return results;
}

std::string CodeTask::gold_completion(const Problem& problem) const {
  const std::string& solution = row_of(problem).solution;
  return solution.empty() ? "" : options_.wrap_answer("\n" + solution + "\n");
}

}  // namespace zeroth
