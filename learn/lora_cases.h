// Adapters held against PEFT: a folder with base/, adapter/ and expected.json.
#pragma once

#include <filesystem>

namespace zeroth {

// Largest differences, all may be NaN.
struct LoraCaseResult {
  double base_logprobs = 0, logprobs = 0;  // absolute
  double gradient_norms = 0;               // relative, of every tensor of the adapter file
  double merged_norms = 0;                 // relative, of every tensor of the merged model
  int gradients = 0, tensors = 0;          // that were compared
};

// expected.json: `sequences` of `ids`, `base_logprobs`, `adapter_logprobs`; `grad_norms` by the
// names of the adapter's file, of the sum of -log p over all sequences; `merged_tensor_norms` by
// the model's names. Throws Error naming what is missing.
LoraCaseResult evaluate_lora_case(const std::filesystem::path& folder);

}  // namespace zeroth
