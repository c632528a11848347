// Supervised fine-tuning held against TRL's SFTTrainer.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

struct SftCaseResult {
  std::string name;
  bool rows_equal = false;          // token ids, labels and packing
  std::string difference;           // the first one, where they are not
  double loss_difference = 0;       // relative, of the total and of every micro-batch; may be NaN
  double grad_norm_difference = 0;  // relative
};

// The sets of `folder`/expected.json: a checkpoint with its tokenizer and chat template, files of
// rows, and what SFTTrainer makes of them: {"sets": [{"name", "rows_file", "options", "batch_size",
// "rows": [{"input_ids", "labels", "seq_lengths"}], "num_target_tokens", "micro_batch_losses",
// "loss", "total_grad_norm"}]}. Throws Error naming the file when it is malformed.
std::vector<SftCaseResult> evaluate_sft_cases(const std::filesystem::path& folder);

}  // namespace zeroth
