// Names of arithmetic formulas that do not depend on how they were written.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace zeroth {

// A normal form of a formula of integers with + - * / and brackets: sums and products are flattened
// and sorted, so "4*(5-1)" and "(5-1)*4" have one form, and "9-6*3" and "(9-6)*3" two. Nothing when
// it is no such formula by the rules of rewards/expression.h, whose limits bound the work.
std::optional<std::string> canonical_formula(std::string_view text);

}  // namespace zeroth
