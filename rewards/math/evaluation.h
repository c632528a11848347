// What the evaluations of one comparison share: the pool, the steps left, the decimals that
// count, and the values of the variables that sums and products bind. residue.h and enclosure.h
// evaluate with it. Not thread safe; one per comparison.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "rewards/math/expr.h"

namespace zeroth::math {

// Free variables have a fixed pseudo-random value at each probe point, derived from their names.
constexpr int kProbePoints = 12;

class Evaluation {
 public:
  // Has MathBudget::work steps of the pool's budget. Decimal fractions must agree to `decimals`
  // (0..30) decimals.
  Evaluation(Pool& pool, int decimals)
      : pool_(pool), decimals_(decimals), steps_left_(pool.budget().work) {}
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  Pool& pool() const { return pool_; }
  int decimals() const { return decimals_; }

  // Pays for steps of at most a few microseconds each; false when none are left.
  bool charge(int64_t steps) {
    steps_left_ -= steps;
    return steps_left_ >= 0;
  }
  // Notes that a number, sum or product lies beyond the budget.
  void note_limit() { limited_ = true; }
  // Steps ran out or a limit was met: "not equal" only means "not shown" from then on.
  bool exhausted() const { return steps_left_ < 0 || limited_; }

  // The value of a bound variable, by its name's id; nullopt for a free one.
  std::optional<int64_t> bound(int32_t symbol) const {
    for (auto it = bindings_.rbegin(); it != bindings_.rend(); ++it) {
      if (it->first == symbol) return it->second;
    }
    return std::nullopt;
  }
  bool binds_any() const { return !bindings_.empty(); }

  // Binds variables for its lifetime; of one name the innermost binding counts.
  class Scope {
   public:
    explicit Scope(Evaluation& evaluation)
        : bindings_(evaluation.bindings_), outer_(bindings_.size()) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() { bindings_.resize(outer_); }
    void bind(int32_t symbol, int64_t value) { bindings_.emplace_back(symbol, value); }
    // Changes the value that was bound last.
    void set_last(int64_t value) { bindings_.back().second = value; }

   private:
    std::vector<std::pair<int32_t, int64_t>>& bindings_;
    size_t outer_;
  };

 private:
  Pool& pool_;
  int decimals_;
  int64_t steps_left_;
  bool limited_ = false;
  std::vector<std::pair<int32_t, int64_t>> bindings_;
};

}  // namespace zeroth::math
