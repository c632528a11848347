// `zeroth check sft DIR`: supervised fine-tuning against what TRL made of the same rows.
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "stages/sft_cases.h"

namespace zeroth {
namespace {

struct CheckSftOptions {
  double bound = 1e-5;
  template <class V>
  void fields(V& v) {
    v("bound", bound, "largest relative difference of losses and gradient norms that passes",
      Range{0, 1});
  }
};

}  // namespace

int run_check_sft(const Args& args) {
  CheckSftOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check sft DIR", options);
  const auto folders = parse_flags(options, args, "check sft");
  if (folders.size() != 1) {
    fail_usage("check sft takes one folder, got " + std::to_string(folders.size()),
               "zeroth check sft DIR [--bound X]");
  }
  int bad = 0;
  const auto results = evaluate_sft_cases(folders[0]);
  for (const SftCaseResult& r : results) {
    // Written so that a NaN counts as bad.
    const bool good = r.rows_equal && r.loss_difference <= options.bound &&
                      r.grad_norm_difference <= options.bound;
    bad += !good;
    std::printf("%-32s rows %s  loss %.2g  grad_norm %.2g  %s\n", r.name.c_str(),
                r.rows_equal ? "equal" : r.difference.c_str(), r.loss_difference,
                r.grad_norm_difference, good ? "ok" : "DIFFERS");
  }
  std::printf("%zu sets, %d differ or are above %g relative\n", results.size(), bad, options.bound);
  return bad == 0 ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
