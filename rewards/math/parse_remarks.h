// Words beside a value: what may be passed over, what changes the value, what it is called.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// A phrase that begins with the word qualifies the answer before it, and ends it: "for all x".
bool is_qualifier(std::string_view word);
// With the word the number beside it is not the answer: "not", "undefined".
bool is_negation(std::string_view word);

// Passes words before a value. The words as one name when "=" or ":" follows ("Area = 12"), which
// it passes too, else an empty name. nullopt when they deny the value.
std::optional<std::string> skip_leading_words(ParseState& state);

// Passes units and remarks behind a value, up to the end of the element, and notes what they say.
// A qualifying phrase ends the answer (ParseState::ended). False when they change the value.
bool skip_trailing_words(ParseState& state);

}  // namespace zeroth::math
