#include "rewards/math/point_set.h"

#include <algorithm>

#include "rewards/math/same_scalar.h"
#include "rewards/math/same_value.h"

namespace zeroth::math {

namespace {

// The real line, cut at the ends of regions into cells: cell 2i+1 is the i-th end, cell 2i the gap
// before it, the last cell the gap after all. Ends 0 and n-1 are the infinities.
class CutLine {
 public:
  explicit CutLine(Evaluation& evaluation) : evaluation_(evaluation), pool_(evaluation.pool()) {}

  // Adds the ends of `region`; false when it is no region with constant ends.
  bool add(Ref region);
  // Puts the ends in order; false when it cannot be shown.
  bool sort();
  // The cells between the infinities are first_cell() .. cells_end() - 1.
  static size_t first_cell() { return 2; }
  size_t cells_end() const { return 2 * ends_.size() - 1; }
  // Whether `region` holds the cell; nullopt when that cannot be told.
  std::optional<bool> holds(Ref region, size_t cell);

 private:
  std::optional<size_t> cell_of(Ref end);
  std::optional<bool> interval_holds(Ref region, size_t cell);
  std::optional<bool> points_hold(Ref region, size_t cell);

  Evaluation& evaluation_;
  Pool& pool_;
  std::vector<Ref> ends_;
};

bool CutLine::add(Ref region) {
  if (ends_.size() > 200) return false;
  switch (pool_[region].op) {
    case Op::kTuple:
      if (pool_[region].count != 2) return false;
      [[fallthrough]];
    case Op::kInterval:
    case Op::kSet:
    case Op::kList:
      for (Ref end : pool_.children(region)) {
        if (!is_scalar(pool_, end) || !pool_.is_constant(end) ||
            pool_.contains(end, Op::kImaginary))
          return false;
        ends_.push_back(end);
      }
      return true;
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
      for (Ref part : pool_.children(region)) {
        if (!add(part)) return false;
      }
      return true;
    case Op::kSpecialSet: {
      const std::string& name = pool_.name(region);
      return name == "R" || name == "empty" || name == "R^+" || name == "R^-" || name == "R_+" ||
             name == "R_>0";
    }
    default:
      return false;
  }
}

bool CutLine::sort() {
  const Ref infinity = pool_.leaf(Op::kInfinity);
  ends_.push_back(infinity);
  ends_.push_back(pool_.neg(infinity));
  std::vector<Ref> sorted;
  for (Ref end : ends_) {
    size_t at = 0;
    bool known = false;
    for (; at < sorted.size() && !known; ++at) {
      const auto side = order(evaluation_, end, sorted[at]);
      if (!side) return false;
      if (*side < 0) break;
      known = *side == 0;
    }
    if (!known) sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(at), end);
  }
  ends_ = std::move(sorted);
  return true;
}

std::optional<size_t> CutLine::cell_of(Ref end) {
  const auto known = std::find(ends_.begin(), ends_.end(), end);
  if (known != ends_.end()) return 2 * static_cast<size_t>(known - ends_.begin()) + 1;
  for (size_t i = 0; i < ends_.size(); ++i) {
    const auto side = order(evaluation_, end, ends_[i]);
    if (side && *side == 0) return 2 * i + 1;
  }
  return std::nullopt;
}

std::optional<bool> CutLine::interval_holds(Ref region, size_t cell) {
  const auto low = cell_of(pool_.child(region, 0));
  const auto high = cell_of(pool_.child(region, 1));
  if (!low || !high) return std::nullopt;
  const bool pair = pool_.is(region, Op::kTuple);
  if (pair && *low >= *high) return std::nullopt;  // a pair, no interval
  const bool with_low = !pair && (pool_[region].flag & kOpenLeft) == 0;
  const bool with_high = !pair && (pool_[region].flag & kOpenRight) == 0;
  return (cell > *low || (cell == *low && with_low)) &&
         (cell < *high || (cell == *high && with_high));
}

std::optional<bool> CutLine::points_hold(Ref region, size_t cell) {
  for (Ref point : pool_.children(region)) {
    const auto at = cell_of(point);
    if (!at) return std::nullopt;
    if (*at == cell) return true;
  }
  return false;
}

std::optional<bool> CutLine::holds(Ref region, size_t cell) {
  switch (pool_[region].op) {
    case Op::kInterval:
    case Op::kTuple:
      return interval_holds(region, cell);
    case Op::kSet:
    case Op::kList:
      return points_hold(region, cell);
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference: {
      const auto first = holds(pool_.child(region, 0), cell);
      if (!first) return std::nullopt;
      const bool decided = pool_.is(region, Op::kUnion) ? *first : !*first;
      if (decided) return first;
      const auto second = holds(pool_.child(region, 1), cell);
      if (!second) return std::nullopt;
      return pool_.is(region, Op::kDifference) ? !*second : *second;
    }
    case Op::kSpecialSet:
      if (pool_.name(region) == "R") return true;
      if (pool_.name(region) == "empty") return false;
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<bool> same_points(Evaluation& evaluation, Ref a, Ref b) {
  CutLine line(evaluation);
  if (!line.add(a) || !line.add(b) || !line.sort()) return std::nullopt;
  for (size_t cell = line.first_cell(); cell < line.cells_end(); ++cell) {
    const auto in_a = line.holds(a, cell), in_b = line.holds(b, cell);
    if (!in_a || !in_b) return std::nullopt;
    if (*in_a != *in_b) return false;
  }
  return true;
}

bool has_no_point(Evaluation& evaluation, Ref region) {
  CutLine line(evaluation);
  if (!line.add(region) || !line.sort()) return false;
  for (size_t cell = line.first_cell(); cell < line.cells_end(); ++cell) {
    const auto held = line.holds(region, cell);
    if (!held || *held) return false;
  }
  return true;
}

}  // namespace zeroth::math
