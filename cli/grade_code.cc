#include "cli/grade_code.h"

#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/files.h"
#include "core/json_text.h"
#include "rewards/code/code_columns.h"

namespace zeroth {

namespace {

std::string text_in(const Json& object, const char* name) {
  return object.contains(name) && object[name].is_string() ? object[name].get<std::string>() : "";
}

// The text of a value inside a JSON text, digits of integers kept.
std::string inner_text(std::string_view text, const char* name, const std::string& where) {
  PyValue line;
  const PyValue* inner = nullptr;
  if (parse_value(text, /*plain=*/true, line)) inner = field(line, name);
  if (inner == nullptr || inner->kind != PyValue::Kind::kDict)
    fail(where + ": \"row\" is no object", "give the row as it stands in its data file");
  return json_text(*inner);
}

// A line is a row with its program, or {"row": {..}} with "program", or with the "completion" of a
// model, of which the program is taken as the code task takes it.
struct CodeLine {
  Json line, row;
  std::string text;  // of the row
  std::string where;
  bool nested = false;
};

void find_program(const CodeLine& line, CodeRow& row) {
  const auto given = line.nested
                         ? read_code_row(line.row, line.text, row.tests, line.where, 0, false)
                         : read_code_row(line.line, line.text, row.tests, line.where, 0, false);
  if (line.nested && line.line.contains("completion")) {
    row.program = extract_program(text_in(line.line, "completion"), FormatRules(), given.shape);
    return;
  }
  const Json& from = line.nested && !line.line.contains("program") ? line.row : line.line;
  row.program = text_in(from, "program");
  // HumanEval's own samples: what follows the prompt.
  if (!from.contains("program") && from.contains("completion"))
    row.program =
        text_in(line.nested ? line.row : line.line, "prompt") + text_in(from, "completion");
}

}  // namespace

std::vector<CodeRow> read_code_rows(const std::filesystem::path& path, SandboxPool& pool) {
  std::vector<CodeRow> rows;
  std::vector<CodeLine> lines;
  for_each_line(path, [&](std::string_view text, int64_t number) {
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
    CodeLine line;
    line.where = path.string() + ":" + std::to_string(number);
    line.line = parse_json(text, line.where);
    line.text = std::string(text);
    CodeRow row;
    row.text = line.text;
    row.id = std::to_string(number);
    if (line.line.is_object() && line.line.contains("row")) {
      line.nested = true;
      line.row = line.line["row"];
      line.text = inner_text(text, "row", line.where);
    }
    for (const char* name : {"id", "task_id", "question_id"}) {
      if (line.line.is_object() && line.line.contains(name)) {
        row.id = line.line[name].dump();
        break;
      }
    }
    rows.push_back(std::move(row));
    lines.push_back(std::move(line));
  });
  std::vector<std::string> texts;
  for (const CodeLine& line : lines) texts.push_back(line.text);
  std::vector<LoadedTests> loaded = load_code_tests(texts, pool);
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].tests = std::move(loaded[i].tests);
    if (!loaded[i].error.empty())
      rows[i].error = path.string() + ", row " + rows[i].id + ": " + loaded[i].error;
    else
      find_program(lines[i], rows[i]);
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
    v("in", in,
      "JSONL file: {\"id\",\"program\",\"tests\":{..}}, columns of a public set beside "
      "\"program\", "
      "or {\"id\",\"completion\",\"row\":{..}}: the program of a completion");
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
