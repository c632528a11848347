#include "tasks/builtin/code_task.h"

#include <cstdio>
#include <mutex>
#include <set>

#include "tasks/rows.h"

namespace zeroth {
namespace {

constexpr std::string_view kFence = "```";

// Text of the last closed fenced block, without its language line.
std::string_view last_fenced(std::string_view text) {
  std::string_view block;
  for (size_t open = text.find(kFence); open != std::string_view::npos;) {
    const size_t line = text.find('\n', open);
    const size_t close = line == std::string_view::npos ? line : text.find(kFence, line);
    if (close == std::string_view::npos) break;
    block = text.substr(line + 1, close - line - 1);
    open = text.find(kFence, close + kFence.size());
  }
  return block;
}

std::string text_field(const Json& row, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (row.contains(name) && row[name].is_string()) return row[name].get<std::string>();
  }
  return {};
}

std::string id_text(const Json& id) { return id.is_string() ? id.get<std::string>() : id.dump(); }

std::string question_of(const Json& row, const std::string& place, int show_tests) {
  // HumanEval: the prompt is a function head.
  if (row.contains("entry_point") && row.contains("test") && row.contains("prompt")) {
    return "Complete this Python function:\n\n" + text_field(row, {"prompt"});
  }
  std::string question = text_field(row, {"prompt", "text", "question"});
  if (question.empty()) fail(place + ": no prompt, text or question", "give the problem's text");
  if (row.contains("test_list") && row["test_list"].is_array()) {
    int shown = 0;
    for (const Json& test : row["test_list"]) {
      if (shown++ >= show_tests || !test.is_string()) break;
      question += (shown == 1 ? "\nThe program has to pass tests such as:\n" : "\n") +
                  test.get<std::string>();
    }
  }
  return question;
}

}  // namespace

CodeOptions SandboxOptions::code_options() const {
  CodeOptions code;
  code.limits.wall_seconds = time_limit;
  code.limits.memory_bytes = int64_t{memory_mb} << 20;
  code.partial_credit = partial_credit;
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

std::string extract_program(std::string_view completion, const FormatRules& rules,
                            const std::string& entry, const std::string& prompt) {
  const ResponseParts parts = split_response(completion, rules);
  std::string_view text = completion;
  const size_t close = text.rfind("</think>");
  if (close != std::string_view::npos) text.remove_prefix(close + 8);
  if (parts.reason == Reason::kNone) {
    // The answer comes trimmed; the indentation of its first line belongs to the program.
    const auto end = static_cast<size_t>(parts.answer.data() - completion.data());
    size_t begin = end;
    while (begin > 0 && (completion[begin - 1] == ' ' || completion[begin - 1] == '\t')) --begin;
    const bool own_line = begin > 0 && completion[begin - 1] == '\n';
    text = own_line ? completion.substr(begin, end - begin + parts.answer.size()) : parts.answer;
  }
  const std::string_view fenced = last_fenced(text);
  std::string program(fenced.empty() ? text : fenced);
  const bool complete = entry.empty() || program.find("def " + entry) != std::string::npos ||
                        program.find(entry + " =") != std::string::npos ||
                        program.find(entry + "=") != std::string::npos;
  return complete ? program : prompt + program;
}

Verdict code_accuracy(const CodeVerdict& code, const std::string& program) {
  Verdict verdict;
  verdict.name = "accuracy";
  verdict.score = code.score;
  verdict.reason = code.reason;
  verdict.extracted = program.substr(0, 4096);
  verdict.info = {{"tests", code.total}, {"tests_right", code.passed}};
  if (!code.detail.empty()) verdict.info["detail"] = code.detail;
  if (code.reason == Reason::kCheckerError) verdict.info["fault"] = "sandbox";
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
  std::vector<std::string> texts;
  std::vector<Row> rows;
  std::vector<int> split_of;
  std::set<std::string> reserved;
  const auto take = [&](const std::string& path, bool held_out_file) {
    for_each_row(path, [&](const Json& json, const std::string& place) {
      Row row;
      row.id = json.contains("task_id") ? id_text(json["task_id"])
               : json.contains("id")    ? id_text(json["id"])
                                        : place;
      row.place = place;
      row.question = question_of(json, place, options_.show_tests);
      const bool completes = json.contains("canonical_solution");
      row.code_prompt = completes ? text_field(json, {"prompt"}) : "";
      row.solution = completes ? row.code_prompt + text_field(json, {"canonical_solution"})
                               : text_field(json, {"code", "solution"});
      const bool held_out = held_out_file || (options_.held_out_path.empty() &&
                                              is_held_out(row.question, options_.held_out_every));
      if (held_out_file) reserved.insert(row.question);
      if (!held_out_file && reserved.contains(row.question)) return;
      texts.push_back(json.dump());
      rows.push_back(std::move(row));
      split_of.push_back(held_out ? 1 : 0);
    });
  };
  if (!options_.held_out_path.empty()) take(options_.held_out_path, true);
  take(options_.path, false);
  std::vector<LoadedTests> loaded = load_code_tests(texts, *pool_);
  std::string first_error;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!loaded[i].error.empty()) {
      ++skipped_;
      if (first_error.empty()) first_error = rows[i].id + ": " + loaded[i].error;
      continue;
    }
    rows[i].tests = std::move(loaded[i].tests);
    index_[split_of[i]].push_back(rows_.size());
    rows_.push_back(std::move(rows[i]));
  }
  if (rows_.empty()) {
    fail("task " + name_ + ": no problem of " + options_.path +
             " has tests that load; first: " + first_error,
         "rows need test_list, asserts, test with entry_point, or tests with inputs and outputs");
  }
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
  problem.prompt = options_.render(rows_[at].question);
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
    submissions.push_back(
        {extract_program(request.completion, rules, row.tests.entry, row.code_prompt), &row.tests});
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
