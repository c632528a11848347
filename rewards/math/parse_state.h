// What the rules of the grammar share while they read one answer. A rule is a function parse_..():
// it reads from the cursor on and returns a tree, or kNoRef when the text is none of its kind; then
// the cursor may stand anywhere. Rules call each other, within a bound on their nesting.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "rewards/math/answer_notes.h"
#include "rewards/math/expr.h"
#include "rewards/math/token_cursor.h"

namespace zeroth::math {

struct ParseState {
  // `tokens` end with kEnd; rewrite.h tells what was done to them. Both outlive the state.
  ParseState(Pool& pool, const std::vector<Token>& tokens) : pool(pool), tokens(tokens) {}

  // Too deep or too large to read on.
  bool over_budget() const { return depth > pool.budget().depth || pool.full(); }

  Pool& pool;
  TokenCursor tokens;
  int depth = 0;                    // nesting of rules
  int open_bars = 0;                // bars |..| that are open: the next bar closes
  bool in_set = false;              // inside \{..\}, where bars and colons separate
  bool ended = false;               // a qualifying phrase ended the answer
  Ref modulus = kNoRef;             // of the last \pmod
  size_t defined_at = SIZE_MAX;     // place of W in a definition "W(n) = .."
  std::set<std::string> functions;  // names that were defined so
  AnswerNotes notes;
};

// Counts one level of nesting.
class Nesting {
 public:
  explicit Nesting(ParseState& state) : depth_(state.depth) { ++depth_; }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

// Gives a variable another value for a scope.
template <typename T>
class Replaced {
 public:
  Replaced(T& variable, T value) : variable_(variable), saved_(std::exchange(variable, value)) {}
  ~Replaced() { variable_ = saved_; }
  Replaced(const Replaced&) = delete;
  Replaced& operator=(const Replaced&) = delete;

 private:
  T& variable_;
  T saved_;
};

}  // namespace zeroth::math
