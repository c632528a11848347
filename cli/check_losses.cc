// `zeroth check losses FILE.jsonl`: compares the losses with recorded ones.
#include <cmath>
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "rl/loss_cases.h"

namespace zeroth {
namespace {

struct CheckLossesOptions {
  double bound = 1e-6;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("bound", bound, "largest relative difference that passes", Range{0, 1});
    v("json", json, "print one JSON object a case");
  }
};

}  // namespace

int run_check_losses(const Args& args) {
  CheckLossesOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check losses FILE.jsonl", options);
  const auto files = parse_flags(options, args, "check losses");
  if (files.size() != 1)
    fail_usage("check losses takes one file, got " + std::to_string(files.size()),
               "zeroth check losses FILE.jsonl [--bound X] [--json]");
  int bad = 0;
  const auto results = evaluate_loss_cases(files[0]);
  for (const LossCaseResult& r : results) {
    // Written so that a NaN counts as bad.
    const bool good = r.loss_difference <= options.bound && r.gradient_difference <= options.bound;
    bad += !good;
    if (options.json) {
      const Json row = {{"id", r.id},
                        {"loss_type", r.type},
                        {"importance_sampling_level", r.importance_sampling},
                        {"loss", r.loss},
                        {"expected_loss", r.expected_loss},
                        {"loss_difference", r.loss_difference},
                        {"gradient_difference", r.gradient_difference},
                        {"ok", good}};
      std::printf("%s\n", row.dump().c_str());
    } else {
      std::printf("case %3lld  %-7s %-8s  loss %.3g  gradient %.3g  %s\n",
                  static_cast<long long>(r.id), r.type.c_str(), r.importance_sampling.c_str(),
                  r.loss_difference, r.gradient_difference, good ? "ok" : "DIFFERS");
    }
  }
  if (!options.json) {
    std::printf("%zu cases, %d above %g relative\n", results.size(), bad, options.bound);
  }
  return bad == 0 ? 0 : 1;
}

}  // namespace zeroth
