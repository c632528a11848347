// Answers in \boxed{..} and \fbox{..}.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "rewards/math/extract.h"

namespace zeroth::math {

// Adds the answer in the boxes of `text` to `out`; false when there is no box. Nothing is added
// when the last box is unterminated or empty: an earlier one was not meant as the last word. With
// `gold` an unterminated last box counts. `end` is the place behind the last box. Linear.
bool boxed_answer(std::string_view text, bool gold, std::vector<Candidate>* out, size_t* end);

// What the last box holds; nothing when there is none, empty when it is empty or unterminated.
std::optional<std::string_view> last_box_content(std::string_view text);

}  // namespace zeroth::math
