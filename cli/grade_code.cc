#include "cli/grade_code.h"

#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/files.h"
#include "core/json_text.h"

namespace zeroth {

std::vector<CodeRow> read_code_rows(const std::filesystem::path& path, SandboxPool& pool) {
  std::vector<CodeRow> rows;
  for_each_line(path, [&](std::string_view text, int64_t number) {
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
    const std::string where = path.string() + ":" + std::to_string(number);
    CodeRow row;
    row.text = std::string(text);
    const Json json = parse_json(text, where);
    const char* id_names[] = {"id", "task_id"};
    row.id = std::to_string(number);
    for (const char* name : id_names) {
      if (json.is_object() && json.contains(name)) {
        row.id = json[name].dump();
        break;
      }
    }
    rows.push_back(std::move(row));
  });
  std::vector<std::string> texts;
  for (const CodeRow& row : rows) texts.push_back(row.text);
  std::vector<LoadedTests> loaded = load_code_tests(texts, pool);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].tests = std::move(loaded[i].tests);
    if (!loaded[i].error.empty()) {
      rows[i].error = path.string() + ", row " + rows[i].id + ": " + loaded[i].error;
    } else {
      rows[i].program = program_of_row(rows[i].text);
    }
  }
  return rows;
}

std::vector<CodeVerdict> grade_rows(const std::vector<CodeRow>& rows, const CodeOptions& options,
                                    SandboxPool& pool) {
  std::vector<CodeSubmission> submissions;
  std::vector<size_t> places;
  std::vector<CodeVerdict> verdicts(rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].error.empty()) {
      verdicts[i].reason = Reason::kBadGold;
      verdicts[i].detail = rows[i].error;
      continue;
    }
    submissions.push_back({rows[i].program, &rows[i].tests});
    places.push_back(i);
  }
  const std::vector<CodeVerdict> graded = grade_code(submissions, options, pool);
  for (size_t i = 0; i < graded.size(); ++i) verdicts[places[i]] = graded[i];
  return verdicts;
}

namespace {

struct GradeCodeFlags : SandboxOptions {
  std::string in, kind = "code";
  template <class V>
  void fields(V& v) {
    v("kind", kind, "what to grade", Choice{{"code"}});
    v("in", in, "JSONL file: {\"id\",\"program\",\"tests\":{..}} or HumanEval / MBPP fields");
    SandboxOptions::fields(v);
  }
};

}  // namespace

int run_grade_code(const Args& args) {
  GradeCodeFlags flags;
  if (asks_for_help(args)) return print_usage("zeroth grade --kind code --in FILE.jsonl", flags);
  const Args rest = parse_flags(flags, args, "grade");
  if (flags.in.empty() || !rest.empty())
    fail_usage("zeroth grade --kind code takes --in FILE.jsonl",
               "see zeroth grade --kind code --help");
  const std::unique_ptr<SandboxPool> pool = make_sandbox_pool(flags);
  const std::vector<CodeRow> rows = read_code_rows(flags.in, *pool);
  const std::vector<CodeVerdict> verdicts = grade_rows(rows, flags.code_options(), *pool);
  int faults = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const CodeVerdict& verdict = verdicts[i];
    Json line = Json::object();
    line["id"] = try_parse_json(rows[i].id).value_or(Json(rows[i].id));
    const bool none = verdict.reason == Reason::kCheckerError || verdict.reason == Reason::kBadGold;
    line["score"] = none ? Json(nullptr) : Json(verdict.score);
    line["reason"] = to_string(verdict.reason);
    line["seconds"] = verdict.seconds;
    line["passed"] = verdict.passed;
    line["total"] = verdict.total;
    line["weak"] = verdict.weak;
    if (!verdict.detail.empty()) line["detail"] = verdict.detail;
    print_json(line);
    faults += none;
  }
  if (faults > 0)
    std::fprintf(stderr, "zeroth grade: %d rows without a verdict (bad tests or a sandbox fault)\n",
                 faults);
  return 0;
}

}  // namespace zeroth
