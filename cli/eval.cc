// `zeroth eval`: accuracy of a checkpoint on held-out problems.
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/preset.h"
#include "cli/task_samples.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "core/interrupted.h"

namespace zeroth {
namespace {

struct EvalCommand {
  TaskSamples what;
  PresetFlags preset;
  OverlongConfig overlong;
  ShapingConfig shaping;
  std::string save;
  bool json = false;
  EvalCommand() { what.task = "countdown"; }
  template <class V>
  void fields(V& v) {
    preset.fields(v);
    what.fields(v);
    v("overlong", overlong, "part of the reward, as in a run's config");
    v("shaping", shaping, "parts of the reward, as in a run's config");
    v("save", save, "write every completion with its verdicts to this JSONL file");
    v("json", json, "print one JSON object");
  }
};

Json row_of(const Group& group, const Sample& sample) {
  Json verdicts = Json::array();
  for (const Verdict& verdict : sample.verdicts) {
    verdicts.push_back({{"name", verdict.name},
                        {"score", verdict.score},
                        {"reason", to_string(verdict.reason)},
                        {"extracted", verdict.extracted},
                        {"info", verdict.info}});
  }
  return {{"problem", group.problem.id},    {"prompt", group.problem.prompt},
          {"sample", sample.key.sample},    {"text", sample.text},
          {"tokens", drawn_tokens(sample)}, {"finish", to_string(sample.finish)},
          {"reward", sample.reward},        {"verdicts", verdicts}};
}

}  // namespace

int run_eval(const Args& args) {
  EvalCommand command;
  if (asks_for_help(args))
    return print_usage(
        "zeroth eval --model DIR --task NAME[:k=v,..] [options]\n       zeroth eval --model DIR "
        "--preset NAME --data FILE [options]",
        command);
  const PresetFlags preset = PresetFlags::in(args);
  if (preset.given()) apply_preset(preset, command.what);  // what other flags say goes before it
  const std::string task = command.what.task;
  const Args rest = parse_flags(command, args, "eval");
  if (preset.given() && command.what.task != task)
    fail_usage("--preset and --task both name a task", "give one of them");
  if (!rest.empty())
    fail_usage("zeroth eval: unexpected argument \"" + rest[0] + "\"", "see zeroth eval --help");
  if (command.what.model.empty()) fail_usage("zeroth eval: no model", "give --model DIR");
  command.shaping.check();
  const Rubric rubric = {command.overlong, command.shaping, command.what.sampling.max_tokens};
  std::unique_ptr<FileWriter> file;
  if (!command.save.empty()) file = std::make_unique<FileWriter>(command.save);
  const auto save = [&](const Group& group) {
    if (!file) return;
    for (const Sample& sample : group.samples) {
      // A completion may hold bytes that are no UTF-8: they become U+FFFD.
      file->write(row_of(group, sample).dump(-1, ' ', false, Json::error_handler_t::replace) +
                  "\n");
    }
  };
  EvalReport report;
  try {
    report = sample_task(command.what, rubric, save);
  } catch (const Interrupted& stopped) {
    if (file) file->close();
    end_interrupted(std::string("zeroth: ") + stopped.what());
  }
  if (file) file->close();
  if (command.json) {
    std::printf("%s\n", report.to_json().dump().c_str());
  } else {
    std::fputs(report.to_text().c_str(), stdout);
  }
  return 0;
}

}  // namespace zeroth
