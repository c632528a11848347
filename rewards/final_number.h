// Final-number answers (GSM8K): find the number that a text ends with, compare it exactly.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/trajectory.h"

namespace zeroth {

struct FinalNumber {
  std::string text;  // normal form: "-1234.5", no separators, no trailing zeros, no sign of zero
  size_t begin = 0, end = 0;  // where it stands in the input
};

enum class NumberPlace {
  kMarker,  // after the last "####"
  kLast,    // the last number of the text
};

// The number at `place`, or nothing. A number is an optional minus or plus, ASCII digits, with or
// without thousands separators (commas in groups of three), and an optional decimal part; at most
// 4,096 digits. Digits glued to a letter, to another decimal point or to more digits (x2, 1.2.3,
// 1e5) are no number; a currency sign before and a unit or percent sign after are fine. "7/2" is
// read as one fraction when it divides out to at most 12 decimals, else it is no number. O(bytes).
// Thread safe.
std::optional<FinalNumber> find_final_number(std::string_view text, NumberPlace place);

// Compares the number of `answer` with `gold` as exact decimals: 18 equals 18.00 and 1,234 equals
// 1234. Without a "####" marker the number is looked for in what final_statement.h leaves of the
// answer. `strict` demands the marker. Reason kCorrect, kWrong, kNoAnswer, or kBadGold when
// gold holds no number.
Verdict check_final_number(std::string_view answer, std::string_view gold, bool strict = false);

}  // namespace zeroth
