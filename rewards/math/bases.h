// Numbers written in a base.
#pragma once

#include <string>
#include <string_view>

#include "rewards/math/expr.h"

namespace zeroth::math {

// The base that a subscript names: "2", "(2)", "two", "base 16", "hex"; 0 for anything else.
int base_of(std::string_view subscript);

// A number by its digits, in a base from 2 to 36.
Ref based_number(Pool& pool, std::string_view digits, int base);

// "AB_{16}", "(1A)_{12}", "\text{2F}_{\text{hex}}": digits with letters and a base above ten, the
// whole answer. kNoRef for anything else, also where the letters are no digits of the base.
Ref read_lettered_base(Pool& pool, std::string_view source);

}  // namespace zeroth::math
