// Learning from pairs: a better and a worse completion of a prompt (`zeroth dpo`).
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "stages/preference_loss.h"
#include "stages/row_stage_config.h"

namespace zeroth {

// Rows: {"prompt", "chosen", "rejected"}, all texts or all lists of messages; without a prompt the
// messages that both lists begin with are it.
struct DpoConfig : RowStageConfig {
  RowsConfig data;
  PreferenceLossConfig loss;

  template <class V>
  void fields(V& v) {
    v("data", data, "the pairs");
    v("loss", loss, "what is minimised");
    RowStageConfig::fields(v);
  }
};

DpoConfig read_dpo_config(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides);

// See run_stage(). The reference is the checkpoint that the run starts from: its log-probs are
// computed once, by the forward that training uses, so that the first step's log-ratios are exactly
// 0, and kept in every checkpoint.
StageSummary dpo(const DpoConfig& config, const std::filesystem::path& folder, bool resume,
                 const std::atomic<bool>* stop = nullptr,
                 const std::function<void(int64_t finished, int64_t saved)>& progress = {});

}  // namespace zeroth
