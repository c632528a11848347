// Numerals: decimal fractions, exponents, recurring digits.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "rewards/math/rational.h"

namespace zeroth::math {

struct Decimal {
  Rational value;
  bool fraction = false;  // written with a point or an exponent
};
// The value of "123", "1.5", ".5", "2e-3"; nullopt when it has more than `max_bits` bits or five
// digits of exponent. The text must be of such a form.
std::optional<Decimal> read_decimal(std::string_view text, int max_bits);

// Adds the digits of a block that recurs for ever behind `places` decimals: 0.1 and "6" are
// 0.1666..
void add_recurring(std::string_view block, size_t places, Rational* value);

bool all_digits(std::string_view text);

}  // namespace zeroth::math
