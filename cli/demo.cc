// `zeroth demo`: trains the shipped base checkpoint on Countdown and shows what it learned.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/error.h"
#include "rl/evaluate.h"
#include "rl/train_loop.h"

namespace zeroth {
namespace {

struct DemoOptions {
  std::string out;
  int64_t steps = 0;
  uint64_t seed = 0;
  std::string config = "configs/countdown.json";
  std::string model;
  int64_t eval_problems = 768;
  std::vector<std::string> set;
  template <class V>
  void fields(V& v) {
    v("out", out, "folder of the run; default runs/demo-TIME");
    v("steps", steps, "training steps; 0 = as the config says", Range{0, 1e9});
    v("seed", seed, "of training; the held-out problems and their draws stay the same");
    v("config", config, "what to train");
    v("model", model, "base checkpoint; default: the config's");
    v("eval_problems", eval_problems, "held-out problems before and after", Range{1, 1e9});
    v("set", set, "override a field of the config, a.b=value; may be repeated", Repeated{});
  }
};

std::string stamped_folder() {
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::strftime(stamp, sizeof stamp, "runs/demo-%Y%m%d-%H%M%S", &parts);
  return stamp;
}

// A sample whose trace judges tries wrong and then finds the answer.
bool turns_right(const Sample& sample) {
  bool right = false, turned = false;
  for (const Verdict& verdict : sample.verdicts) {
    if (verdict.name != "accuracy") continue;
    right = verdict.score >= 1;
    turned = verdict.info.value("right_after_wrong_try", 0.0) > 0;
  }
  return right && turned && sample.text.find("wait") != std::string::npos &&
         sample.text.size() < 600;
}

struct Measured {
  EvalReport report;
  std::optional<Group> turn;  // the first group with such a sample, that sample alone
};

Measured measure(const TrainingRun& run, const DemoOptions& options, Background& background,
                 const char* when) {
  std::fprintf(stderr,
               "evaluating %s training: %lld held-out problems, one sample each, temperature 1\n",
               when, static_cast<long long>(options.eval_problems));
  Measured measured;
  EvalOptions eval;
  eval.n = options.eval_problems;
  eval.sampling = run.config.sampling;
  eval.stop = &save_on_interrupt();
  eval.background = &background;
  eval.on_group = [&](const Group& group) {
    if (measured.turn) return;
    for (const Sample& sample : group.samples) {
      if (!turns_right(sample)) continue;
      measured.turn = group;
      measured.turn->samples = {sample};
      return;
    }
  };
  measured.report = evaluate(*run.parts->sampler, *run.parts->tokenizer, *run.parts->task, eval);
  return measured;
}

double fact(const EvalReport& report, const char* name) { return report.facts.value(name, 0.0); }

void print_table(const EvalReport& before, const EvalReport& after) {
  std::fprintf(stderr, "\n%-44s %10s %10s\n", "held-out Countdown", "before", "after");
  const auto row = [](const char* name, double x, double y, bool share) {
    if (share)
      std::fprintf(stderr, "%-44s %9.1f%% %9.1f%%\n", name, 100 * x, 100 * y);
    else
      std::fprintf(stderr, "%-44s %10.2f %10.2f\n", name, x, y);
  };
  row("accuracy, sampled", before.pass_at_1, after.pass_at_1, true);
  std::fprintf(stderr, "%-44s [%.1f, %.1f]  [%.1f, %.1f]\n",
               "  95% interval, clustered by number set", 100 * before.ci95.lo,
               100 * before.ci95.hi, 100 * after.ci95.lo, 100 * after.ci95.hi);
  row("tries per response", fact(before, "tries"), fact(after, "tries"), false);
  row("\"wait\" per response", fact(before, "wait"), fact(after, "wait"), false);
  row("right after a try that it judged wrong", fact(before, "right_after_wrong_try"),
      fact(after, "right_after_wrong_try"), true);
  row("accuracy with thinking", fact(before, "thinks_accuracy"), fact(after, "thinks_accuracy"),
      true);
  row("accuracy without", fact(before, "direct_accuracy"), fact(after, "direct_accuracy"), true);
  row("arithmetic right", fact(before, "steps_accuracy"), fact(after, "steps_accuracy"), true);
  row("verdicts on own tries right", fact(before, "verdicts_accuracy"),
      fact(after, "verdicts_accuracy"), true);
  const auto per_try = [](const EvalReport& r, const char* name) {
    return fact(r, name) / std::max(1e-9, fact(r, "tries"));
  };
  row("duplicate tries", per_try(before, "duplicate_tries"), per_try(after, "duplicate_tries"),
      true);
  row("illegal tries", per_try(before, "illegal_tries"), per_try(after, "illegal_tries"), true);
  row("truncated", before.truncated, after.truncated, true);
  row("well-formed responses", fact(before, "format"), fact(after, "format"), true);
  row("mean length in tokens", before.mean_length, after.mean_length, false);
}

void print_turn(const Measured& after) {
  if (!after.turn) return;
  std::fprintf(
      stderr,
      "\nA held-out problem on which the trained policy turned from wrong to right:\n\n  %s\n",
      after.turn->problem.prompt.c_str());
  std::string text = after.turn->samples[0].text;
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos; at += 3)
    text.replace(at, 1, "\n  ");
  std::fprintf(stderr, "  %s\n", text.c_str());
}

}  // namespace

int run_demo(const Args& args) {
  DemoOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth demo [--out RUN] [--steps N] [--seed S]", options);
  const Args rest = parse_flags(options, args, "demo");
  if (!rest.empty())
    fail_usage("zeroth demo: unexpected argument \"" + rest[0] + "\"", "see zeroth demo --help");
  RunConfig config = read_run_config(find_shipped(options.config), options.set);
  config.seed = options.seed;
  config.model = find_shipped(options.model.empty() ? config.model : options.model);
  if (options.steps > 0) config.steps = options.steps;
  const std::string folder = options.out.empty() ? stamped_folder() : options.out;

  save_on_interrupt();
  const auto run = TrainingRun::create(folder, config);
  std::fputs(run->prompt_report().c_str(), stderr);
  const Measured before = measure(*run, options, run->parts->background, "before");
  std::fprintf(stderr, "training: %lld steps of %d problems x %d samples, run folder %s\n",
               static_cast<long long>(config.steps), config.prompts_per_step,
               config.samples_per_prompt, folder.c_str());
  const TrainSummary summary = train(*run, &save_on_interrupt(), note_progress);
  if (summary.interrupted) {
    end_interrupted("saved step " + std::to_string(summary.steps) +
                    "; go on with: zeroth train --resume " + folder);
  }
  const Measured after = measure(*run, options, run->parts->background, "after");
  print_table(before.report, after.report);
  print_turn(after);
  std::fprintf(
      stderr,
      "\nNext:\n  build/zeroth traces top --aha %s      traces that turned from wrong to right\n"
      "  build/zeroth inspect %s              the run in the browser\n  build/zeroth train "
      "configs/parity.json --out runs/parity\n\n",
      folder.c_str(), folder.c_str());
  const Json result = {{"task", run->parts->task->name()},
                       {"accuracy_before", before.report.pass_at_1},
                       {"accuracy_after", after.report.pass_at_1},
                       {"n_eval", after.report.n},
                       {"steps", summary.steps},
                       {"seconds", summary.seconds},
                       {"max_logp_difference", summary.max_logp_difference},
                       {"run", folder},
                       {"ci95_before", {before.report.ci95.lo, before.report.ci95.hi}},
                       {"ci95_after", {after.report.ci95.lo, after.report.ci95.hi}},
                       {"clusters", after.report.clusters},
                       {"tries_before", fact(before.report, "tries")},
                       {"tries_after", fact(after.report, "tries")}};
  std::printf("%s\n", result.dump().c_str());
  return 0;
}

}  // namespace zeroth
