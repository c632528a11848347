#include "rl/admission.h"

#include <algorithm>

namespace zeroth {

std::vector<size_t> choose_groups(std::span<const int64_t> ready, std::span<const int64_t> out,
                                  int64_t step, int batch, int max_staleness) {
  const auto age = [&](int64_t due) {
    return static_cast<size_t>(std::clamp<int64_t>(due - step, 0, max_staleness));
  };
  // missing[d]: of the groups that are due up to step + d, those that later steps cannot take.
  std::vector<int64_t> missing(static_cast<size_t>(max_staleness) + 1, 0);
  for (const std::span<const int64_t> all : {ready, out}) {
    for (const int64_t due : all) ++missing[age(due)];
  }
  for (size_t d = 1; d < missing.size(); ++d) missing[d] += missing[d - 1];
  for (size_t d = 0; d < missing.size(); ++d) missing[d] -= static_cast<int64_t>(d) * batch;

  std::vector<size_t> chosen;
  int64_t places = batch;
  for (size_t i = 0; i < ready.size() && places > 0; ++i) {
    const size_t own = age(ready[i]);
    bool fits = true;
    for (size_t d = 0; d < missing.size(); ++d)
      fits = fits && missing[d] - (d >= own) <= places - 1;
    if (!fits) continue;
    for (size_t d = own; d < missing.size(); ++d) --missing[d];
    chosen.push_back(i);
    --places;
  }
  if (places > 0) chosen.clear();
  return chosen;
}

void DrawNumbers::use(int64_t draw) {
  for (; next <= draw; ++next) open.insert(open.end(), next);
  open.erase(draw);
}

int64_t DrawNumbers::take() {
  const int64_t draw = open.empty() ? next : *open.begin();
  use(draw);
  return draw;
}

Pace::Pace(int batch, int max_staleness)
    : batch_(batch), limit_(int64_t{max_staleness + 1} * batch), depth_(int64_t{2} * batch) {}

int64_t Pace::most(int64_t step, int64_t steps) const {
  return std::min({limit_, depth_, (steps - step) * batch_});
}

void Pace::took(bool waited, int64_t left) {
  if (waited) depth_ += std::max<int64_t>(1, batch_ / 2);
  if (!waited && left >= batch_) depth_ -= std::max<int64_t>(1, batch_ / 4);
  depth_ = std::clamp(depth_, std::min(limit_, 2 * batch_), limit_);
}

}  // namespace zeroth
