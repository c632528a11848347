// Process reward of step-checked arithmetic: every stated equation of the working is checked by
// itself.
#pragma once

#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

struct EquationCount {
  int stated = 0;  // "expression=integer" found
  int right = 0;   // those that hold exactly
};

struct Equation {
  size_t end = 0;  // of its text: behind the stated result
  bool right = false;
};

// Finds every "expression = integer" whose left side is a formula with at least one operation, as
// rewards/expression.h reads it. A stated result is not part of the next formula ("9+6=15 15+9=24"
// is two equations). Thread safe. Linear: only the last 256 bytes before an equals sign are looked
// at.
std::vector<Equation> find_equations(std::string_view text);
EquationCount count_equations(std::string_view text);

// Score: right / max(stated, min_steps), so that leaving steps out or stating trivial ones beyond
// need does not pay more than full working; 0 without any. Info: steps, steps_right.
Verdict check_process(std::string_view text, int min_steps = 1);

}  // namespace zeroth
