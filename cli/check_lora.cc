// `zeroth check lora DIR..`: adapters against PEFT.
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "learn/lora_cases.h"

namespace zeroth {
namespace {

struct CheckLoraOptions {
  double logprob_bound = 1e-4;
  double gradient_bound = 1e-4;
  double weight_bound = 1e-5;
  template <class V>
  void fields(V& v) {
    v("logprob_bound", logprob_bound, "largest difference of log-probs that passes", Range{0, 1});
    v("gradient_bound", gradient_bound, "largest relative difference of gradient norms",
      Range{0, 1});
    v("weight_bound", weight_bound, "largest relative difference of norms of merged tensors",
      Range{0, 1});
  }
};

}  // namespace

int run_check_lora(const Args& args) {
  CheckLoraOptions options;
  if (asks_for_help(args)) return print_usage("zeroth check lora DIR..", options);
  const auto folders = parse_flags(options, args, "check lora");
  if (folders.empty())
    fail_usage("check lora: no folder is named",
               "name folders with base/, adapter/ and expected.json");
  int bad = 0;
  for (const std::string& folder : folders) {
    LoraCaseResult r;
    try {
      r = evaluate_lora_case(folder);
    } catch (const Error& error) {
      std::printf("%-40s FAILED: %s\n", folder.c_str(), error.what());
      ++bad;
      continue;
    }
    // Written so that a NaN counts as bad.
    const bool good =
        r.base_logprobs <= options.logprob_bound && r.logprobs <= options.logprob_bound &&
        r.gradient_norms <= options.gradient_bound && r.merged_norms <= options.weight_bound;
    bad += !good;
    std::printf("%-40s base %.2g  adapter %.2g  %d gradient norms %.2g  %d merged %.2g  %s\n",
                folder.c_str(), r.base_logprobs, r.logprobs, r.gradients, r.gradient_norms,
                r.tensors, r.merged_norms, good ? "ok" : "DIFFERS");
  }
  std::printf("%zu adapters, %d differ\n", folders.size(), bad);
  return bad == 0 ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
