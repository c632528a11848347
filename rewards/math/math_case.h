// Rows of grading files: {"id","gold","pred"} and optional "pred_gen", "pred_hex", "targets",
// "opts", "mode", "expected", "tier", "max_ms".
#pragma once

#include <optional>
#include <string>

#include "core/config.h"
#include "rewards/math/math_grader.h"

namespace zeroth {

struct MathCase {
  Json id;
  std::string gold;
  std::string pred;  // any bytes
  MathOptions options;
  std::optional<bool> expected;  // nullopt: not given, or "any"
  std::string tier;
  double max_ms = 100;
};

// Reads one row; `where` (file:line) is named in errors. Throws Error(kFailed) on missing fields,
// wrong types, unknown targets or options, bad hexadecimal, and predictions over 64 MiB.
MathCase read_math_case(const Json& row, const std::string& where);

}  // namespace zeroth
