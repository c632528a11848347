// Functions of two whole numbers as a policy writes them, "lambda a,b: max(a,b)+1", evaluated
// without a Python.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// A parsed function. Grammar of the body: + - * // % with Python's rules (floor division, sign of
// the divisor), unary minus, parentheses, the names a and b, whole numbers, max(x,y), min(x,y),
// abs(x). Nothing else: no power, no true division, no other names. At most 256 bytes and 32
// levels. Thread safe when const.
class SmallFunction {
 public:
  // kCorrect when it parsed, else kNoAnswer, kParseError or kOverBudget; `error` says what is wrong
  // and where.
  static SmallFunction parse(std::string_view text);
  bool ok() const { return reason_ == Reason::kCorrect; }
  Reason reason() const { return reason_; }
  const std::string& error() const { return error_; }
  // False on division by zero or a value beyond 2^62.
  bool call(int64_t a, int64_t b, int64_t* result) const;

 private:
  friend class SmallFunctionParser;
  struct Op {
    enum class Kind {
      kA,
      kB,
      kNumber,
      kAdd,
      kSubtract,
      kMultiply,
      kFloor,
      kModulo,
      kNegate,
      kMax,
      kMin,
      kAbs
    } kind;
    int64_t number = 0;
  };
  std::vector<Op> ops_;  // reverse Polish
  Reason reason_ = Reason::kNone;
  std::string error_;
};

}  // namespace zeroth
