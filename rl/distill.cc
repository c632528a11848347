#include "rl/distill.h"

namespace zeroth {

std::vector<double> distilled_advantages(const DistillConfig& config, const Sample& sample,
                                         std::span<const double> own,
                                         std::span<const float> teacher) {
  const std::vector<uint8_t> mask = drawn_mask(sample);
  std::vector<double> out(sample.tokens.size(), 0);
  for (size_t t = 0; t < out.size(); ++t) {
    if (!mask.empty() && mask[t] == 0) continue;
    const double gap = static_cast<double>(teacher[t]) - sample.logprobs[t];
    out[t] = config.reward_weight * (own.empty() ? sample.advantage : own[t]) + config.weight * gap;
  }
  return out;
}

}  // namespace zeroth
