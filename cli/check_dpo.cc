// `zeroth check dpo FILE.jsonl`: losses of pairs against recorded ones.
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "stages/preference_cases.h"

namespace zeroth {
namespace {

struct CheckDpoOptions {
  double bound = 1e-6;
  template <class V>
  void fields(V& v) {
    v("bound", bound, "largest relative difference that passes", Range{0, 1});
  }
};

}  // namespace

int run_check_dpo(const Args& args) {
  CheckDpoOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check dpo FILE.jsonl", options);
  const auto files = parse_flags(options, args, "check dpo");
  if (files.size() != 1) {
    fail_usage("check dpo takes one file, got " + std::to_string(files.size()),
               "zeroth check dpo FILE.jsonl [--bound X]");
  }
  int bad = 0, compared = 0;
  const auto results = evaluate_preference_cases(files[0]);
  for (const PreferenceCaseResult& r : results) {
    if (!r.not_computed.empty()) {
      std::printf("case %3lld  %-28s not a loss of zeroth dpo\n", static_cast<long long>(r.id),
                  r.name.c_str());
      continue;
    }
    // Written so that a NaN counts as bad.
    const bool good = r.loss_difference <= options.bound &&
                      r.gradient_difference <= options.bound &&
                      r.reward_difference <= options.bound;
    bad += !good;
    ++compared;
    std::printf("case %3lld  %-28s loss %.2g  gradient %.2g  rewards %.2g  %s\n",
                static_cast<long long>(r.id), r.name.c_str(), r.loss_difference,
                r.gradient_difference, r.reward_difference, good ? "ok" : "DIFFERS");
  }
  std::printf("%d cases, %d above %g relative; %zu of losses that zeroth dpo does not have\n",
              compared, bad, options.bound, results.size() - static_cast<size_t>(compared));
  return bad == 0 ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
