// Rows of Countdown files: TinyZero's, verl's and reasoning-gym's columns.
#pragma once

#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct CountdownRow {
  std::vector<int> numbers;  // 2..16 of them, each 0..1000000
  int target = 0;            // -1000000..1000000
};

// Reads "nums" or "numbers" and "target", at the top or inside reward_model.ground_truth,
// ground_truth, metadata or extra_info; whole numbers also as text ("11"), as 11.0, and the list as
// text ("[3, 5, 7]"). Throws Error that names `place` and the value.
CountdownRow read_countdown_row(const Json& row, const std::string& place);

// True when some expression that uses every number once equals the target, fractions on the way
// allowed. Tries all of them: 4 numbers take microseconds, 5 a millisecond; more than 5 count as
// solvable.
bool is_solvable(const std::vector<int>& numbers, int target);

}  // namespace zeroth
