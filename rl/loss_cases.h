// Recorded loss cases: JSON lines with per-token log-probs, settings, and the loss and gradient
// that another implementation gave. Shared by `zeroth check losses` and the tests.
#pragma once

#include <filesystem>
#include <vector>

#include "rl/loss.h"

namespace zeroth {

// Differences of one case. The loss is compared relative to the sum of the absolute shares that
// samples add to it (a loss that cancels to nearly 0 has no relative precision in float32, in which
// the recorded values were computed); a gradient entry relative to the largest entry of its case.
struct LossCaseResult {
  int64_t id = 0;
  std::string type, importance_sampling;
  double loss = 0, expected_loss = 0;
  double loss_difference = 0;
  double gradient_difference = 0;
};

// Evaluates every case of the file. Malformed lines are Errors naming file, line and field.
std::vector<LossCaseResult> evaluate_loss_cases(const std::filesystem::path& path);

}  // namespace zeroth
