// Rules for what stands behind a factor: powers, factorials, percent and degree signs.
#pragma once

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// The marks behind `base`, each around the one before.
Ref parse_marks(ParseState& state, Ref base);

// What '^' is followed by.
enum class Superscript {
  kPower,
  kDegree,     // the degree sign
  kTranspose,  // T, \top
  kOrdinal     // the "th" of 4^{th}, or a footnote's star: adds nothing
};
struct Exponent {
  Superscript kind = Superscript::kPower;
  Ref power = kNoRef;  // of kPower; kNoRef when there is none to read
};
Exponent parse_exponent(ParseState& state);
// The same where only a power makes sense; kNoRef for anything else.
Ref parse_power_exponent(ParseState& state);

}  // namespace zeroth::math
