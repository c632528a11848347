#include <cstdio>

#include "cli/commands.h"
#include "cli/usage.h"
#include "core/config.h"

namespace zeroth {

int run_check(const Args& args) {
  struct Part {
    const char* name;
    int (*run)(const Args&);
    const char* summary;
  };
  const Part kParts[] = {
      {"parity", run_check_parity,
       "DIR..        checkpoints against expected.json (log-probs, greedy ids, gradient norm)"},
      {"backends", run_check_backends,
       "DIR..        every operator of two back ends side by side over checkpoints"},
      {"losses", run_check_losses, "FILE.jsonl   losses and gradients against recorded ones"},
      {"advantages", run_check_advantages, "FILE.jsonl   advantages against recorded ones"},
      {"lora", run_check_lora, "DIR..        adapters against PEFT's log-probs and gradient norms"},
      {"sft", run_check_sft,
       "DIR          supervised fine-tuning against TRL's tokens, losses, gradients"},
      {"dpo", run_check_dpo, "FILE.jsonl   losses of pairs against recorded ones"},
      {"tokenizer", run_check_tokenizer, "DIR..        tokenizers against golden.jsonl"},
      {"math", run_check_math, "FILE.jsonl   the math grader against labelled pairs"},
      {"code", run_check_code, "FILE.jsonl   the code sandbox against hostile programs"},
      {"ranks", run_check_ranks,
       "             engines for messages between ranks: gloo, MPI, NCCL"},
  };
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    std::printf("usage: zeroth check PART ...\n\n");
    for (const Part& part : kParts) std::printf("  %-10s %s\n", part.name, part.summary);
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  std::vector<std::string> names;
  for (const Part& part : kParts) {
    if (args[0] == part.name) return part.run(Args(args.begin() + 1, args.end()));
    names.emplace_back(part.name);
  }
  const std::string near = nearest(args[0], names);
  fail_usage("zeroth check: unknown part \"" + args[0] + "\"",
             (near.empty() ? "" : "did you mean \"" + near + "\"? ") +
                 std::string("see zeroth check --help"));
}

}  // namespace zeroth
