// `zeroth check parity`: checkpoints against what another implementation computed from them.
#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/error.h"
#include "learn/parity.h"

namespace zeroth {

int run_check_parity(const Args& args) {
  if (args.empty() || asks_for_help(args)) {
    std::printf(
        "usage: zeroth check parity DIR..\n\nEvery DIR holds a checkpoint and expected.json "
        "(sequences of ids, logprobs, last_logits,\ngreedy; total_grad_norm). Bounds: log-probs "
        "and logits %g, gradient norm %g relative,\n%g for all of them with gated delta nets; "
        "greedy ids equal.\n",
        kParityLogprobBound, kParityGradBound, kDeltaNetParityBound);
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  bool good = true;
  for (const std::string& arg : args) {
    ParityGap d;
    try {
      d = measure_parity(arg);
    } catch (const Error& error) {
      std::printf("%-28s FAILED: %s\n", arg.c_str(), error.what());
      good = false;
      continue;
    }
    std::printf("%-28s logprob %.2e  logit %.2e  grad_norm %.2e  greedy %s  %s\n", arg.c_str(),
                d.logprob, d.logit, d.grad_norm, d.greedy_equal ? "equal" : "DIFFERS",
                d.within_bounds() ? "ok" : "FAILED");
    std::fflush(stdout);
    good = good && d.within_bounds();
  }
  return good ? 0 : static_cast<int>(ExitCode::kFailed);
}

}  // namespace zeroth
