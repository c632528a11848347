// The arithmetic of Countdown problems: which single operations are allowed, and what a set of
// numbers can reach.
#pragma once

#include <string>
#include <vector>

#include "core/rng.h"

namespace zeroth {

// One operation a op b = c with a >= b.
struct CountdownStep {
  int a = 0;
  char op = '+';
  int b = 0;
  int c = 0;
  bool operator==(const CountdownStep&) const = default;
};

// A try: operations that join all numbers into one. `expression` is the same as a formula,
// intermediate results in parentheses; `value` is its true value.
struct CountdownTry {
  std::vector<CountdownStep> steps;
  std::string expression;
  int value = 0;
};

// Sets *c = a op b when that is whole, within 1..max_value, and the larger operand comes first;
// false otherwise.
bool countdown_op(int a, char op, int b, int max_value, int* c);

// Every try of the numbers, in a fixed order, different orders of independent operations included.
// Grows super-exponentially: for at most 4 numbers.
std::vector<CountdownTry> all_countdown_tries(const std::vector<int>& numbers, int max_value);

// The values of all_countdown_tries without those that are among the numbers: ascending, each once.
std::vector<int> reachable_targets(const std::vector<int>& numbers, int max_value);

// A try of uniformly drawn operations. With aim > 0, the last operation is with probability `aim`
// the one whose result is closest to `target`. Empty steps when 200 attempts all end where no
// operation is allowed.
CountdownTry random_countdown_try(const std::vector<int>& numbers, int max_value, int target,
                                  double aim, Rng& rng);

// The multiset as text, "3,5,7": key of splits and clusters.
std::string multiset_key(std::vector<int> numbers);

}  // namespace zeroth
