// The vocabularies of the lexer.
#include <algorithm>
#include <array>

#include "rewards/math/lexer.h"

namespace zeroth::math {

namespace {

constexpr auto kKnownNames = std::to_array<std::string_view>({
    "Gamma", "Re", "alpha", "arccos", "arccot", "arccsc", "arcosh", "arcsec", "arcsin", "arctan",
    "arsinh", "artanh", "beta", "binom", "ceil", "cos", "cosec", "cosh", "cot", "coth", "csc", "delta",
    "det", "epsilon", "exp", "floor", "gamma", "gcd", "inf", "infinity", "infty", "lambda", "lcm", "lg",
    "ln", "log", "max", "min", "mod", "mu", "omega", "phi", "pi", "psi", "rho", "sec", "sigma", "sin",
    "sinh", "sqrt", "tan", "tanh", "tau", "theta",
});

constexpr auto kUnits = std::to_array<std::string_view>({
    "AM", "Hz", "J", "L", "MHz", "N", "PM", "Pa", "V", "W", "acre", "acres", "am", "apples", "bits", "boxes",
    "bytes", "calories", "cans", "cent", "centimeter", "centimeters", "centimetres", "cents", "cm", "cups",
    "day", "days", "deg", "degree", "degrees", "digits", "dm", "dollar", "dollars", "feet", "foot", "ft",
    "g", "gal", "gallon", "gallons", "gm", "gram", "grams", "h", "hour", "hours", "hr", "hrs", "in", "inch",
    "inches", "kWh", "kg", "kilograms", "kilometers", "km", "kmh", "kmph", "kph", "l", "lb", "lbs", "liter",
    "liters", "litres", "m", "mL", "meter", "meters", "metre", "metres", "mg", "mile", "miles", "min",
    "mins", "minute", "minutes", "ml", "mm", "month", "months", "mph", "ms", "nm", "ounces", "oz", "pm",
    "points", "pound", "pounds", "rad", "radians", "rs", "s", "sec", "second", "seconds", "sq", "square",
    "students", "unit", "units", "week", "weeks", "yard", "yards", "yd", "year", "years", "yr", "yrs",
});

template <size_t N>
bool contains(const std::array<std::string_view, N>& sorted, std::string_view word) {
  return std::binary_search(sorted.begin(), sorted.end(), word);
}

static_assert(std::is_sorted(kKnownNames.begin(), kKnownNames.end()));
static_assert(std::is_sorted(kUnits.begin(), kUnits.end()));

}  // namespace

bool is_known_name(std::string_view name) { return contains(kKnownNames, name); }
bool is_unit(std::string_view word) { return contains(kUnits, word); }

}  // namespace zeroth::math
