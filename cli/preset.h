// Public benchmarks by name: configs/presets/NAME.json is a train config whose task, sampling and
// evaluation are those of the benchmark.
#pragma once

#include <string>
#include <vector>

#include "cli/task_samples.h"

namespace zeroth {

std::vector<std::string> preset_names();  // sorted

// The flags that name one. They are read before a command's others, which change what it says.
struct PresetFlags {
  std::string preset, data, prompt_template;
  template <class V>
  void fields(V& v) {
    v("preset", preset,
      "a public benchmark as published: aime, dapo-17k, gsm8k, humaneval, livecodebench, math-500, "
      "mbpp");
    v("data", data, "with --preset: its rows, a file, a pattern or a folder (docs/tasks.md)");
    v("template", prompt_template, "with --preset: prompt template instead of r1_zero, e.g. chat");
  }
  bool given() const { return !preset.empty(); }
  // Those among the arguments of a command; the others are passed over. Throws Error(kUsage) for
  // --data or --template without --preset.
  static PresetFlags in(const std::vector<std::string>& args);
};

// What `zeroth eval` does by default under a preset: the task with every row of the data as a
// held-out problem, the sampling, and as many completions a problem as evaluation.samples says.
// Throws Error(kUsage) for a name that is none (naming the nearest) and for no data.
void apply_preset(const PresetFlags& flags, TaskSamples& what);

}  // namespace zeroth
