// Measures in one or several units: "80 min", "1 hour 20 minutes", "5 ft 10 in".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/lexer.h"
#include "rewards/math/rational.h"

namespace zeroth::math {

struct Measure {
  char dimension = 0;  // 't' time, 'l' length, 'm' mass, 'c' money, 'w' US weight, 'i' US length;
                       // 0: no measure
  bool compound = false;  // several units
  Rational value;         // in the smallest unit of the dimension
};

// The measure that the tokens state: numbers, each with a unit of one dimension, the larger unit
// first, and nothing else. Dimension 0 for anything else.
Measure read_measure(const std::vector<Token>& tokens);

// A date in figures ("2021-05-03", "3/4/2021") in a form of its own; empty for anything else. A
// date is no difference and no quotient.
std::string read_date(std::string_view source);

}  // namespace zeroth::math
