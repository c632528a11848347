#include "cli/preset.h"

#include <algorithm>
#include <filesystem>

#include "cli/shipped.h"
#include "core/error.h"
#include "rl/run_config.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;
constexpr char kFolder[] = "configs/presets";

// "task:{..}" as --task takes it.
std::string spec_of(const std::string& task, const Json& options) {
  std::string text = task;
  char separator = ':';
  for (const auto& [key, value] : options.items()) {
    text += separator + key + "=" + value.dump();
    separator = ',';
  }
  return text;
}

}  // namespace

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(find_shipped(kFolder), error)) {
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

void apply_preset(const PresetFlags& flags, TaskSamples& what) {
  const std::string& name = flags.preset;
  const std::vector<std::string> names = preset_names();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    std::string all;
    for (const std::string& known : names) all += (all.empty() ? "" : ", ") + known;
    const std::string near = nearest(name, names);
    fail_usage(
        "no preset \"" + name + "\"",
        (near.empty() ? "" : "did you mean \"" + near + "\"? ") + std::string("there are: ") + all);
  }
  if (flags.data.empty())
    fail_usage("--preset " + name + " without its rows", "give --data FILE, as published");
  RunConfig config = read_run_config(find_shipped(std::string(kFolder) + "/" + name + ".json"), {});
  // The rows as held-out problems; the same file as the training split leaves nothing there.
  config.task.options["path"] = flags.data;
  config.task.options["held_out_path"] = flags.data;
  if (!flags.prompt_template.empty()) config.task.options["template"] = flags.prompt_template;
  what.task = spec_of(config.task.name, config.task.options);
  what.split = "held_out";
  what.sampling = config.sampling;
  what.sampling.temperature = config.evaluation.temperature;
  if (config.evaluation.max_tokens > 0) what.sampling.max_tokens = config.evaluation.max_tokens;
  what.samples = config.evaluation.samples;
  what.n = config.evaluation.problems;
}

PresetFlags PresetFlags::in(const std::vector<std::string>& args) {
  PresetFlags found;
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    const auto take = [&](const std::string& flag, std::string& value) {
      if (args[i] == flag && i + 1 < args.size()) value = args[i + 1];
      if (args[i].starts_with(flag + "=")) value = args[i].substr(flag.size() + 1);
    };
    take("--preset", found.preset);
    take("--data", found.data);
    take("--template", found.prompt_template);
  }
  if (!found.given() && (!found.data.empty() || !found.prompt_template.empty()))
    fail_usage("--data and --template go with --preset", "with --task write NAME:path=FILE");
  return found;
}

}  // namespace zeroth
