// Supervised fine-tuning: the loss of given completions, by the same forward, backward and
// checkpoints as reinforcement learning.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "learn/learner.h"
#include "stages/sft_config.h"
#include "stages/sft_rows.h"

namespace zeroth {

enum class SftLoss { kNll, kDft };
// Of its name in the config.
SftLoss sft_loss(const std::string& name);

struct SftLossSum {
  std::vector<double> documents;  // the loss over their learnt tokens, divided by all targets
  double total = 0;
  int64_t targets = 0;  // learnt tokens of all rows
};

// The loss of packed rows, and with `gradient` its gradient added to the learner's (between begin()
// and reduce()). kNll: mean of -log p over the learnt tokens of all rows; kDft: of -p log p, p taken
// as a constant (arXiv 2508.05629, eq. 9). Forward calls hold about `micro_batch_tokens` tokens,
// which changes no bit. Throws Error when nothing is learnt.
SftLossSum sft_loss_of(Learner& learner, std::span<const PackedRow* const> rows, SftLoss loss,
                       int64_t micro_batch_tokens, double router_aux_coef, bool gradient);

SftConfig read_sft_config(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides);

// See run_stage().
StageSummary sft(const SftConfig& config, const std::filesystem::path& folder, bool resume,
                 const std::atomic<bool>* stop = nullptr,
                 const std::function<void(int64_t finished, int64_t saved)>& progress = {});

}  // namespace zeroth
