// Several checkpoints of one shape as one: weight averaging and task arithmetic.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/checkpoint.h"

namespace zeroth {

struct MergeOptions {
  // [models] shares; empty: equal ones. Averaging divides by their sum, which is not 0; task
  // arithmetic takes them as they are.
  std::vector<double> weights;
  // Task arithmetic (Ilharco et al., arXiv 2212.04089): base + sum_i weight_i (model_i - base).
  // Empty: the average sum_i weight_i model_i / sum_i weight_i (model soups, arXiv 2203.05482).
  std::filesystem::path base;
  // A PEFT adapter of the only model, merged into it first.
  std::filesystem::path adapter = {};
};

// `models`: at least one Hugging Face folder or .gguf file. The config is that of the base, or of
// the first model. Sums are in double, in the order of `models`, rounded once to float32. Holds one
// model's float32 values and a piece of each other in memory. Throws Error (usage) that names the
// model and the tensor when shapes or names differ, and for weights that do not fit.
ModelValues merge(const std::vector<std::filesystem::path>& models, const MergeOptions& options);

}  // namespace zeroth
