#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/json_lines.h"
#include "rewards/math/math_case.h"

namespace zeroth {

namespace {

struct GradeFlags {
  std::string kind = "math", in;
  bool forms = false;
  template <class V>
  void fields(V& v) {
    v("kind", kind, "what to grade: math answers or programs (see --kind code --help)",
      Choice{{"math", "code"}});
    v("in", in,
      "JSONL file: {\"id\",\"gold\",\"pred\"} and optional targets, opts, mode, pred_gen, "
      "pred_hex");
    v("forms", forms, "add the normal forms of both sides");
  }
};

bool asks_for_code(const Args& args) {
  for (size_t i = 0; i < args.size(); ++i) {
    if (args[i] == "--kind=code" ||
        (args[i] == "--kind" && i + 1 < args.size() && args[i + 1] == "code"))
      return true;
  }
  return false;
}

void print_row(const MathCase& row, const MathVerdict& verdict, bool forms) {
  Json line = {{"id", row.id},
               {"score", verdict.score},
               {"extracted", verdict.extracted},
               {"reason", to_string(verdict.reason)}};
  if (forms) {
    line["gold_form"] = verdict.gold_form;
    line["pred_form"] = verdict.pred_form;
  }
  print_json(line);
}

}  // namespace

int run_grade(const Args& args) {
  if (asks_for_code(args)) return run_grade_code(args);
  GradeFlags flags;
  if (asks_for_help(args))
    return print_usage("zeroth grade --kind math|code --in FILE.jsonl", flags);
  const Args rest = parse_flags(flags, args, "grade");
  if (flags.in.empty() || !rest.empty()) {
    fail_usage("zeroth grade takes --kind math|code --in FILE.jsonl", "see zeroth grade --help");
  }
  int64_t bad_golds = 0;
  for_each_json_line(flags.in, [&](const Json& json, int64_t number) {
    MathCase row = read_math_case(json, flags.in + ":" + std::to_string(number));
    row.options.forms = flags.forms;
    const MathVerdict verdict = grade_math(row.gold, row.pred, row.options);
    bad_golds += verdict.reason == Reason::kBadGold;
    print_row(row, verdict, flags.forms);
  });
  if (bad_golds > 0) {
    std::fprintf(stderr,
                 "zeroth grade: %lld golds do not parse; their rows say bad_gold and deserve no "
                 "reward signal\n",
                 static_cast<long long>(bad_golds));
  }
  return 0;
}

}  // namespace zeroth
