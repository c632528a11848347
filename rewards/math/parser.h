// Reads an answer into an expression tree. Recursive descent with a bound on its depth; what the
// grammar does not know becomes text, which equals only the same text.
#pragma once

#include <string_view>

#include "rewards/math/answer_notes.h"
#include "rewards/math/expr.h"
#include "rewards/math/measures.h"

namespace zeroth::math {

struct ParsedAnswer {
  Ref ref = kNoRef;          // kNoRef when there is nothing in it
  bool as_text = false;      // some part was not understood and is kept as text
  bool over_budget = false;  // ref is the whole source as text
  AnswerNotes notes;
  Measure measure;  // "5 ft 10 in", "80 min": the same in one unit
};

// Parses ASCII LaTeX (see unicode.h) within the pool's budget. `plain` tells that it stood outside
// mathematics. Without `comma_groups`, "1,234" is two members.
ParsedAnswer parse_answer(Pool& pool, std::string_view source, bool plain,
                          bool comma_groups = true);

}  // namespace zeroth::math
