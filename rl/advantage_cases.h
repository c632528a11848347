// Recorded advantages: JSON lines with the rewards of a batch, settings, and the advantages that
// TRL's GRPOTrainer or RLOOTrainer gave. Shared by `zeroth check advantages` and the tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace zeroth {

struct AdvantageCaseResult {
  int64_t id = 0;
  std::string name;       // "grpo scale_rewards=group"
  double difference = 0;  // the largest, relative to the larger of 1 and the case's largest
                          // advantage; may be NaN
};

// The cases of a file, one JSON object a line: `trainer` (grpo, rloo), `num_generations`,
// `reward_weights` [functions], `rewards` [samples][functions] (null: no score; a sample without any
// is masked), `advantages` [samples]; of grpo `scale_rewards` (group, batch, none) and
// `multi_objective_aggregation` (sum_then_normalize, normalize_then_sum); of rloo
// `normalize_advantages` and `reward_clip_range` (null: none). Throws Error naming the line when it
// is malformed.
std::vector<AdvantageCaseResult> evaluate_advantage_cases(const std::filesystem::path& file);

}  // namespace zeroth
