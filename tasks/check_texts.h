// The completions that `zeroth task check` tries.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// Completions that no task should reward, whatever its problem; `index` seeds the random ones.
std::vector<std::string> junk_completions(uint32_t index);
// The place of the answer inside a completion: its answer block, or what follows the thinking.
std::pair<size_t, size_t> answer_range(const std::string& text);
// Gold with the last letter or digit of its answer changed; empty when there is none.
std::string perturbed(const std::string& gold);
// Gold as it is, and with other blanks around its answer.
std::vector<std::string> rewritings(const std::string& gold);

}  // namespace zeroth
