// Rules for the smallest factors: numbers and names.
#pragma once

#include <string>

#include "rewards/math/parse_state.h"

namespace zeroth::math {

// A number, a name, a group or a command, without the marks behind it.
Ref parse_atom(ParseState& state);
// name(arguments) at the opening bracket: an unknown function.
Ref parse_call(ParseState& state, const std::string& name);

}  // namespace zeroth::math
