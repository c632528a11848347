// How long the samples of a problem were the last time, which says in which order to begin the next
// ones (rollout/start_order.h).
#pragma once

#include <cstdint>
#include <vector>

#include "core/json.h"
#include "core/trajectory.h"

namespace zeroth {

// Not thread safe. Changes no sample: what is remembered decides about time alone.
class LengthHistory {
 public:
  static constexpr int64_t kMost = 100'000;
  // Of so many problems. Of more than kMost nothing is remembered: they do not come back soon.
  explicit LengthHistory(int64_t problems);

  // Mean tokens of its last samples; 0 = unknown.
  double expected(int64_t problem) const;
  // Those that were cut short by a stop do not count.
  void note(int64_t problem, const std::vector<Sample>& samples);

  // For checkpoints: {"problems": [..], "tokens": [..]}, or null when nothing is known. restore()
  // throws nlohmann's exceptions for anything else, and passes over problems that are not there any
  // more.
  Json state() const;
  void restore(const Json& state);

 private:
  std::vector<float> tokens_;  // [problems], or empty
};

}  // namespace zeroth
