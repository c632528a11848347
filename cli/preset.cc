#include "cli/preset.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>

#include "cli/shipped.h"
#include "core/error.h"
#include "rl/run_config.h"
#include "tasks/row_files.h"

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

// Of a folder with several splits the test one: a model is not measured on what it may have learnt.
std::string test_split_of(const std::string& data) {
  std::error_code error;
  if (!fs::is_directory(data, error)) return data;
  const std::set<std::string> splits = row_splits(data);
  if (splits.size() < 2 || !splits.contains("test")) return data;
  std::fprintf(stderr, "the split test of %s; another is %s#NAME\n", data.c_str(), data.c_str());
  return data + "#test";
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
    if (names.empty()) {
      fail(std::string(kFolder) + " is neither here nor beside the program",
           "run the program from its package or its source tree");
    }
    const std::string near = nearest(name, names);
    fail_usage(
        "no preset \"" + name + "\"",
        (near.empty() ? "" : "did you mean \"" + near + "\"? ") + std::string("there are: ") + all);
  }
  if (flags.data.empty())
    fail_usage("--preset " + name + " without its rows", "give --data FILE, as published");
  RunConfig config = read_run_config(find_shipped(std::string(kFolder) + "/" + name + ".json"), {});
  // The rows as held-out problems; the same file as the training split leaves nothing there.
  const std::string data = test_split_of(flags.data);
  config.task.options["path"] = data;
  config.task.options["held_out_path"] = data;
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
