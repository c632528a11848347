// zeroth: one binary, one subcommand per file of this folder.
#include <cstdio>
#include <cstring>
#include <exception>

#include "cli/commands.h"
#include "cli/features.h"
#include "cli/interrupt.h"
#include "core/config.h"
#include "core/interrupted.h"
#include "core/terminal.h"
#include "core/version.h"
#include "kernels/ops.h"

namespace zeroth {
namespace {

struct Command {
  const char* name;
  int (*run)(const Args&);
  const char* summary;
};

// In the order in which a new user needs them.
const Command kCommands[] = {
    {"demo", run_demo, "train the shipped base checkpoint on Countdown and show what it learned"},
    {"train", run_train, "reinforcement learning with GRPO from a config"},
    {"doctor", run_doctor, "a few groups of a config before training: solve rate, memory, time"},
    {"worker", run_worker, "draw samples for a run on this or another machine"},
    {"fleet", run_fleet, "what a run's workers are doing, and what became of false ones"},
    {"eval", run_eval, "accuracy of a checkpoint on held-out problems of a task"},
    {"ladder", run_ladder, "checkpoints rated against fixed opponents, from evaluations"},
    {"sample", run_sample, "completions of a prompt"},
    {"serve", run_serve, "a checkpoint behind the OpenAI completion protocols"},
    {"tinker", run_tinker, "a checkpoint to train and sample by the Tinker protocol"},
    {"score", run_score, "teacher-forced log-probabilities of token sequences"},
    {"inspect", run_inspect, "serve the page that shows a run and its traces"},
    {"traces", run_traces, "list, show, search and compare traces in the terminal"},
    {"task", run_task, "list, try, check and make tasks"},
    {"rescore", run_rescore, "grade the stored traces of a run again and show what changes"},
    {"grade", run_grade, "grade answers with the rule-based graders"},
    {"check", run_check, "hold this build against recorded references"},
    {"bench", run_bench, "speed of this machine and of the engine, beside their limits"},
    {"describe", run_describe, "what a checkpoint is and what training it would cost"},
    {"export", run_export, "write a checkpoint as a Hugging Face folder or as GGUF"},
    {"upcycle", run_upcycle, "turn a dense checkpoint into a mixture of experts"},
    {"pretrain", run_pretrain, "train a base checkpoint on a procedural corpus"},
    {"sft", run_sft, "supervised fine-tuning on rows of prompts and completions or chats"},
    {"dpo", run_dpo, "learning from pairs of a better and a worse completion"},
    {"reject", run_reject, "right completions of a run or a checkpoint as rows to learn from"},
    {"merge", run_merge, "average checkpoints, or add what several learnt to their base"},
    {"pipeline", run_pipeline, "stages one after another: cold start, RL, rejection, merging, .."},
    {"init", run_init, "a random checkpoint from a Hugging Face config.json"},
    {"tokenize", run_tokenize, "text to token ids and back"},
};

void print_help() {
  std::printf("zeroth %s: trains reasoning from a base checkpoint by reinforcement learning\n\n",
              version_string().c_str());
  std::printf("usage: zeroth COMMAND [options]      zeroth COMMAND --help\n\n");
  for (const Command& command : kCommands) {
    std::printf("  %-10s %s\n", command.name, command.summary);
  }
  std::printf(
      "\nEnvironment: ZEROTH_THREADS (threads, default all cores), ZEROTH_ISA (avx512, avx2, "
      "neon, portable).\n");
}

int dispatch(const Args& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h" || args[0] == "help") {
    print_help();
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  if (args[0] == "--version" || args[0] == "version") {
    std::printf("zeroth %s (git %s), kernels %s, numeric contract %s\n%s\n",
                version_string().c_str(), git_revision().c_str(), kernels::isa().c_str(),
                kernels::contract_hash().c_str(), features().c_str());
    return 0;
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (args[0] == command.name) return command.run(Args(args.begin() + 1, args.end()));
    names.emplace_back(command.name);
  }
  const std::string near = nearest(args[0], names);
  fail_usage(
      "unknown command \"" + args[0] + "\"",
      (near.empty() ? "" : "did you mean \"" + near + "\"? ") + std::string("see zeroth --help"));
}

}  // namespace
}  // namespace zeroth

int main(int argc, char** argv) {
  try {
    return zeroth::dispatch(zeroth::Args(argv + 1, argv + argc));
  } catch (const zeroth::Interrupted& stopped) {
    std::fprintf(stderr, "zeroth: %s\n", stopped.what());
    return zeroth::interrupt_exit_code();
  } catch (const zeroth::Error& error) {
    std::fprintf(stderr, "zeroth: %s\n", zeroth::printable(error.what()).c_str());
    return static_cast<int>(error.code());
  } catch (const std::bad_alloc&) {
    std::fprintf(
        stderr,
        "zeroth: out of memory\n  fix: for train lower engine.cache_mb, engine.max_batch or "
        "trainer.reuse_mb or trainer.micro_batch_tokens, or set trainer.recompute=true (--set, on "
        "--resume too), or lower trainer.leaf_tokens (--change on --resume); else use a smaller "
        "batch, cache or model\n");
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(
        stderr,
        "zeroth: internal error: %s\n  fix: please report this with the command that caused it\n",
        zeroth::printable(error.what()).c_str());
    return 1;
  }
}
