#include "rewards/math/decimals.h"

#include <algorithm>
#include <cstdlib>
#include <string>

namespace zeroth::math {

namespace {

// 10^exponent, exponent >= 0.
Rational power_of_ten(size_t exponent) {
  Rational power;
  fmpz_set_ui(fmpq_numref(power.get()), 10);
  fmpz_pow_ui(fmpq_numref(power.get()), power.num(), exponent);
  return power;
}

// The number of "+12" or "-3"; nullopt for more than five digits.
std::optional<int64_t> read_exponent(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() > 5) return std::nullopt;
  int64_t exponent = 0;
  for (char c : text) exponent = exponent * 10 + (c - '0');
  return negative ? -exponent : exponent;
}

}  // namespace

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

void add_recurring(std::string_view block, size_t places, Rational* value) {
  Rational repeat, nines = power_of_ten(block.size());
  fmpz_set_str(fmpq_numref(repeat.get()), std::string(block).c_str(), 10);
  fmpz_sub_ui(fmpq_numref(nines.get()), nines.num(), 1);
  const Rational scale = power_of_ten(places);
  fmpq_div(repeat.get(), repeat.get(), nines.get());
  fmpq_div(repeat.get(), repeat.get(), scale.get());
  fmpq_add(value->get(), value->get(), repeat.get());
}

std::optional<Decimal> read_decimal(std::string_view text, int max_bits) {
  const size_t e = text.find_first_of("eE");
  const std::string_view mantissa = text.substr(0, e);
  std::string digits(mantissa);
  std::erase(digits, '.');
  const size_t point = mantissa.find('.');
  int64_t scale =
      point == std::string_view::npos ? 0 : -static_cast<int64_t>(mantissa.size() - 1 - point);
  if (e != std::string_view::npos) {
    const auto exponent = read_exponent(text.substr(e + 1));
    if (!exponent) return std::nullopt;
    scale += *exponent;
  }
  // 10^k has about 3.33 k bits.
  if (static_cast<int64_t>(digits.size()) * 10 / 3 > max_bits ||
      std::abs(scale) * 10 / 3 > max_bits)
    return std::nullopt;
  if (digits.empty()) digits = "0";
  Decimal result;
  fmpq* const value = result.value.get();
  if (fmpz_set_str(fmpq_numref(value), digits.c_str(), 10) != 0) return std::nullopt;
  if (scale != 0) {
    const Rational power = power_of_ten(static_cast<size_t>(std::abs(scale)));
    (scale > 0 ? fmpq_mul : fmpq_div)(value, value, power.get());
  }
  result.fraction = point != std::string_view::npos || e != std::string_view::npos;
  return result;
}

}  // namespace zeroth::math
