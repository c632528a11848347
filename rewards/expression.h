// Arithmetic expressions written by a policy: integers, + - * / and parentheses, evaluated exactly.
//
// The text is hostile: everything is bounded, nothing recurses, and what the grammar does not name
// is refused. The grammar is deliberately smaller than that of a programming language, because
// published checkers that call eval behind a character filter accept 2**9, 7//2, 1.5+3 for {1,3,5},
// and hang on 9**9**9.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// A fraction in lowest terms, denominator >= 1, |numerator| and denominator <= kRationalBound.
struct Rational {
  int64_t numerator = 0;
  int64_t denominator = 1;
  bool operator==(const Rational&) const = default;
};
inline constexpr int64_t kRationalBound = int64_t{1} << 60;

// Exact a OP b for OP in + - * /. False when the result leaves the bounds or b is zero in a
// division.
bool rational_op(char op, const Rational& a, const Rational& b, Rational* result);

// "7" or "7/2".
std::string to_string(const Rational& value);

struct ExpressionLimits {
  size_t bytes = 1024;  // longer text is refused unread
  int depth = 64;       // open parentheses
  int numbers = 128;    // integer tokens
  int digits = 15;      // digits of one integer
};

struct Expression {
  // kCorrect: parsed and evaluated (nothing is said about its value). Otherwise kNoAnswer (blank),
  // kParseError (not an expression), kIllegal (division by zero), kOverBudget (a limit or the
  // rational bound).
  Reason reason = Reason::kNone;
  std::string error;             // what is wrong and at which byte; empty when it parsed
  Rational value;                // set when it parsed
  std::vector<int64_t> numbers;  // the integers in order of appearance
  bool ok() const { return reason == Reason::kCorrect; }
};

// Grammar: expr = term {("+"|"-") term}; term = factor {("*"|"/") factor}; factor = integer | "("
// expr ")". Left associative. Blanks (space, tab, line feed, carriage return) may stand between
// tokens. The signs × ÷ − · are read as * / - *. Refused: unary signs, powers, floor division,
// decimals, leading zeros, implicit products, names, digits of other scripts. O(bytes) time and
// memory. Thread safe.
Expression evaluate_expression(std::string_view text, const ExpressionLimits& limits = {});

// True when `used` is a permutation of `given`.
bool uses_each_once(std::vector<int64_t> used, std::vector<int64_t> given);

// The Countdown rule: the expression uses every given number exactly once and equals the target.
// Reason: kCorrect, kWrong (legal, other value), kIllegal (numbers missing, repeated or foreign;
// division by zero), kParseError, kNoAnswer, kOverBudget. `info` gets "value" (text) when the
// expression has one and "error" otherwise.
Verdict check_countdown(std::string_view answer, std::span<const int64_t> numbers, int64_t target);

}  // namespace zeroth
