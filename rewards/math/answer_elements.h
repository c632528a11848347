// An answer as its elements: values between commas, semicolons and conjunctions.
#pragma once

#include "rewards/math/parse_state.h"

namespace zeroth::math {

struct AnswerElements {
  Ref whole = kNoRef;        // the one element, or a kList of several; kNoRef when there is none
  bool as_text = false;      // some part was not understood and is kept as text
  bool over_budget = false;  // too many elements, or the pool is full
};

// Reads all tokens, or those before a phrase that qualifies the answer. What the grammar does not
// know becomes text.
AnswerElements read_elements(ParseState& state);

}  // namespace zeroth::math
