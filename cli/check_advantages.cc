// `zeroth check advantages FILE.jsonl`: advantages against recorded ones.
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "rl/advantage_cases.h"

namespace zeroth {
namespace {

struct CheckAdvantagesOptions {
  double bound = 1e-6;
  template <class V>
  void fields(V& v) {
    v("bound", bound, "largest difference that passes, relative to the case's largest advantage",
      Range{0, 1});
  }
};

}  // namespace

int run_check_advantages(const Args& args) {
  CheckAdvantagesOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check advantages FILE.jsonl", options);
  const auto files = parse_flags(options, args, "check advantages");
  if (files.size() != 1) {
    fail_usage("check advantages takes one file, got " + std::to_string(files.size()),
               "zeroth check advantages FILE.jsonl [--bound X]");
  }
  int bad = 0;
  const auto results = evaluate_advantage_cases(files[0]);
  for (const AdvantageCaseResult& r : results) {
    const bool good = r.difference <= options.bound;  // written so that a NaN counts as bad
    bad += !good;
    std::printf("case %3lld  %-40s %.2g  %s\n", static_cast<long long>(r.id), r.name.c_str(),
                r.difference, good ? "ok" : "DIFFERS");
  }
  std::printf("%zu cases, %d above %g\n", results.size(), bad, options.bound);
  return bad == 0 ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
