// A model's whole way through two back ends: what `zeroth check backends` runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "kernels/check/check.h"

namespace zeroth {

struct BackendCheck {
  std::optional<kernels::Difference> difference;  // the first
  std::map<std::string, int64_t> calls;           // compared, by operator
  int64_t all_calls() const;
};

// Loads a checkpoint (a folder or .gguf), packs it, draws a few tokens from a shared prompt under
// truncation, scores and differentiates them packed in parts, makes an update, publishes and hashes
// the weights: every operator that the model has, by both back ends, which outlive the call. A pure
// function of the model and `element`. Blocks: a small model takes seconds, by the reference
// minutes.
BackendCheck check_backends(const std::filesystem::path& model, kernels::Element element,
                            const kernels::Operators& first, const kernels::Operators& second,
                            const kernels::CheckBounds& bounds);

}  // namespace zeroth
