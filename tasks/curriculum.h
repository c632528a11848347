// Which training problem comes next, by how well the policy does on it: prioritised sampling and
// levels of difficulty. The state is small, exact and saved with every checkpoint, so that a
// resumed run draws the same problems.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "core/config.h"
#include "core/rng.h"

namespace zeroth {

struct CurriculumConfig {
  std::string mode = "uniform";
  // prioritised
  double floor = 0.05, ceiling = 1;
  int64_t pool = 1 << 16;
  double forget = 0.5;
  // levels
  double advance_at = 0.7, retreat_at = 0.2;
  int window = 256;
  double review = 0.2;

  template <class V>
  void fields(V& v) {
    v("mode", mode,
      "uniform (every problem once an epoch); prioritised (probability proportional to 1 - success "
      "rate); levels (from easy to "
      "hard, needs a task with "
      "levels)",
      Choice{{"uniform", "prioritised", "levels"}});
    v("floor", floor, "smallest weight of a problem: solved ones are still visited",
      Range{0.0001, 1});
    v("ceiling", ceiling, "largest weight: unsolvable ones do not take over", Range{0.0001, 1});
    v("pool", pool, "problems that take part, the first so many of the split", Range{1, 1 << 24});
    v("forget", forget,
      "share of what is known of a problem that each new visit replaces; 0 = plain average",
      Range{0, 1});
    v("advance_at", advance_at, "solve rate of the level at which the next one opens", Range{0, 1});
    v("retreat_at", retreat_at, "solve rate at which it goes back one level", Range{0, 1});
    v("window", window, "samples of the level that the solve rate is taken over",
      Range{1, 1 << 20});
    v("review", review, "share of the draws from the levels below", Range{0, 1});
  }
};

// Draws indices of [0, size). Deterministic: the same config, seed and records give the same draws.
// Not thread safe.
//   uniform       every problem with the same probability
//   prioritised   weight clamp(1 - s, floor, ceiling), s the success rate so far, problems not yet
//   seen at the ceiling
//                 (Kimi k1.5, arXiv 2501.12599, section 2.3.4, with bounds)
//   levels        problem i belongs to level i % levels. Draws come from the current level, a share
//   `review` from those
//                 below it; after each full window the level moves by its solve rate.
class ProblemSampler {
 public:
  // levels >= 1. Throws a usage Error for floor > ceiling, retreat_at >= advance_at, or mode levels
  // with one level.
  ProblemSampler(const CurriculumConfig& config, uint64_t seed, int64_t size, int levels);

  // Different from `taken` (the draws of this step) whenever that is possible within a bounded
  // number of attempts.
  int64_t draw(const std::vector<int64_t>& taken);
  // Outcome of the samples of one drawn problem; successes may be fractional (partial credit).
  void record(int64_t index, double successes, int attempts);

  int level() const { return level_; }
  // Success rate of a problem so far; -1 when it was never recorded.
  double success_rate(int64_t index) const;
  int64_t problems_seen() const { return static_cast<int64_t>(seen_.size()); }

  Json state() const;
  // Throws Error when the state is malformed or of another sampler.
  void restore(const Json& state);

 private:
  struct Seen {
    double attempts = 0, successes = 0;
  };
  int64_t draw_once();
  double weight(int64_t index) const;
  void set_weight(int64_t index, double weight);
  int64_t find_weight(double target) const;

  CurriculumConfig config_;
  uint64_t seed_;
  int64_t size_;
  int levels_;
  uint64_t draws_ = 0;
  std::map<int64_t, Seen> seen_;
  std::vector<double>
      tree_;  // prioritised: complete binary tree of weights; children of i at 2i and 2i + 1
  int64_t leaves_ = 0;
  int level_ = 0;
  double level_successes_ = 0;
  int64_t level_attempts_ = 0;
};

}  // namespace zeroth
