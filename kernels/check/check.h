// Two back ends side by side: every operator is computed by both from the same arrays, and the
// first result that differs is named. For whoever writes a back end or moves to a new processor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "kernels/operators.h"

namespace zeroth::kernels {

// Where two back ends first differed: element [row, column] of an operator's result [rows, width].
struct Difference {
  std::string op, array;
  int64_t call = 0;  // of all operators, from 1
  int64_t rows = 0, width = 0, row = 0, column = 0;
  double first = 0, second = 0;
  int64_t ulps = 0;  // floats between the two values; -1: integers, or one is not finite
  // "rms_norm, call 17: y[3, 12] of [64, 96] is 0.5 (cpu) and 0.25 (reference), 8388608 ulps".
  std::string text(const std::string& first_name, const std::string& second_name) const;
};

// Which floats count as equal. Integers are equal or not; so are infinities. NaN equals NaN.
struct CheckBounds {
  int64_t ulps = 0;  // 0: the same bits
  double share = 0;  // or so close, as a share of the largest magnitude in the array
};

// Arrays must lie where both back ends can follow them. What an operator leaves is what the first
// one computed, so a difference never feeds the next: each call is judged alone. Packed matrices
// hold the layouts of both, one behind the other. After the first difference only the first back
// end computes. Thread safe; calls wait for each other.
class CheckedOperators : public Operators {
 public:
  // Both outlive it.
  static std::unique_ptr<CheckedOperators> make(const Operators& first, const Operators& second,
                                                const CheckBounds& bounds = {});
  virtual std::optional<Difference> difference() const = 0;
  // Calls that were compared, by operator.
  virtual std::map<std::string, int64_t> calls() const = 0;
};

}  // namespace zeroth::kernels
