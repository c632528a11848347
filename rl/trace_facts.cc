#include "rl/trace_facts.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "record/run_recorder.h"
#include "rl/step_report.h"

namespace zeroth {
namespace {

using Rows = std::vector<std::vector<float>>;

// Rounded to the upper half of its bits (bfloat16); the lower half then compresses to nothing.
// Differences of log-probs are far from where rounding up reaches infinity.
float rounded(float value) {
  if (!std::isfinite(value)) return value;
  const auto bits = std::bit_cast<uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000u);
}

// 0 for tokens that the policy did not draw.
std::vector<float> differences(const std::vector<float>& a, const std::vector<float>& b,
                               const std::vector<uint8_t>& mask) {
  std::vector<float> out(std::min(a.size(), b.size()));
  for (size_t t = 0; t < out.size(); ++t) {
    if (mask.empty() || mask[t] != 0) out[t] = rounded(a[t] - b[t]);
  }
  return out;
}

bool any_value(const Rows& rows) {
  return std::any_of(rows.begin(), rows.end(), [](const std::vector<float>& row) {
    return std::any_of(row.begin(), row.end(), [](float value) { return value != 0; });
  });
}

}  // namespace

void record_training(RunRecorder& recorder, int64_t step, const std::vector<Group>& groups,
                     const StepReport& report) {
  for (size_t g = 0; g < report.trained.size(); ++g) {
    const std::vector<Sample>& samples = groups[g].samples;
    Rows ratios(samples.size()), to_reference(samples.size()), loss(samples.size());
    bool reference = false;
    for (size_t i = 0; i < samples.size(); ++i) {
      const TrainedSample& trained = report.trained[g][i];
      if (trained.logprobs.empty()) continue;
      const std::vector<uint8_t> mask = drawn_mask(samples[i]);
      ratios[i] = differences(trained.logprobs, samples[i].logprobs, mask);
      to_reference[i] = differences(trained.logprobs, trained.reference_logprobs, mask);
      loss[i] = {static_cast<float>(trained.loss)};
      reference = reference || !trained.reference_logprobs.empty();
    }
    if (!reference && !any_value(ratios)) continue;
    const auto at = static_cast<int64_t>(g);
    recorder.annotate(step, at, "log_ratios", ratios);
    if (reference) recorder.annotate(step, at, "reference_log_ratios", to_reference);
    recorder.annotate(step, at, "loss", loss);
  }
}

}  // namespace zeroth
