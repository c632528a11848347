#include "rewards/math/unit_vectors.h"

#include <array>

#include "rewards/math/same_scalar.h"

namespace zeroth::math {

namespace {

// The place of a unit vector's name among i, j, k; -1 for any other name.
int place_of_unit(std::string_view name) {
  for (std::string_view accent : {"hat{", "vec{", "bar{"}) {
    if (name.starts_with(accent) && name.size() > accent.size() + 1)
      name = name.substr(accent.size(), name.size() - accent.size() - 1);
  }
  if (name == "i" || name == "imath") return 0;
  if (name == "j" || name == "jmath") return 1;
  return name == "k" ? 2 : -1;
}

// Sets the unit vectors of a tree to numbers, and notes which of them it met.
class UnitValues {
 public:
  explicit UnitValues(Pool& pool) : pool_(pool) {}

  // kNoRef when the pool is full.
  Ref set(Ref ref, const std::array<int, 3>& values);
  bool met(size_t place) const { return met_[place]; }

 private:
  Pool& pool_;
  std::array<bool, 3> met_{};
};

Ref UnitValues::set(Ref ref, const std::array<int, 3>& values) {
  if (pool_.full()) return kNoRef;
  int place = -1;
  if (pool_.is(ref, Op::kImaginary)) place = 0;
  if (pool_.is(ref, Op::kSymbol)) place = place_of_unit(pool_.name(ref));
  if (place >= 0) {
    met_[static_cast<size_t>(place)] = true;
    return pool_.integer(values[static_cast<size_t>(place)]);
  }
  if (pool_[ref].count == 0) return ref;
  std::vector<Ref> kids = pool_.copy_children(ref);
  bool changed = false;
  for (Ref& kid : kids) {
    const Ref other = set(kid, values);
    if (other == kNoRef) return kNoRef;
    changed |= other != kid;
    kid = other;
  }
  return changed ? pool_.rebuild(ref, kids) : ref;
}

}  // namespace

bool is_vector(const Pool& pool, Ref ref) {
  const bool column = pool.is(ref, Op::kMatrix) && pool[ref].data == 1;
  return (pool.is(ref, Op::kTuple) || column) && (pool[ref].count == 2 || pool[ref].count == 3);
}

// The sum is linear in i, j and k without a constant part, and its coefficients are the components.
bool same_vector(Comparer& comparer, const VectorForms& forms, int depth) {
  Pool& pool = comparer.pool();
  Evaluation& evaluation = comparer.evaluation();
  if (!pool.is(forms.sum, Op::kAdd) && !pool.is(forms.sum, Op::kMul)) return false;
  UnitValues units(pool);
  const int count = pool[forms.tuple].count;
  const Ref constant = units.set(forms.sum, {0, 0, 0});
  if (constant == kNoRef || (!units.met(1) && !units.met(2)) || (count == 2 && units.met(2)))
    return false;
  if (!same_number(evaluation, constant, pool.integer(0))) return false;
  Ref sum = pool.integer(0);
  for (int i = 0; i < 3; ++i) {
    std::array<int, 3> one{}, two{};
    one[static_cast<size_t>(i)] = 1;
    two[static_cast<size_t>(i)] = 2;
    const Ref once = units.set(forms.sum, one);
    const Ref twice = once == kNoRef ? kNoRef : units.set(forms.sum, two);
    if (twice == kNoRef) return false;
    if (!same_number(evaluation, twice, pool.mul(pool.integer(2), once))) return false;
    if (i < count && !comparer.compare(pool.child(forms.tuple, i), once, depth + 1)) return false;
    sum = pool.add(sum, once);
  }
  const Ref all = units.set(forms.sum, {1, 1, 1});
  return all != kNoRef && same_number(evaluation, all, sum);
}

bool has_accented_unit(const Pool& pool, Ref ref) {
  if (!pool.is(ref, Op::kAdd) && !pool.is(ref, Op::kMul)) return false;
  for (const int32_t id : pool.free_symbols(ref)) {
    const std::string& name = pool.name_of(id);
    if (name.ends_with('}') && place_of_unit(name) >= 0) return true;
  }
  return false;
}

Ref plain_units(Pool& pool, Ref ref) {
  static constexpr std::string_view kNames[] = {"i", "j", "k"};
  for (const int32_t id : pool.free_symbols(ref)) {
    const int place = place_of_unit(pool.name_of(id));
    if (place < 0) continue;
    const Ref plain = place == 0 ? pool.leaf(Op::kImaginary) : pool.symbol(kNames[place]);
    const Ref changed = pool.substitute(ref, id, plain);
    if (changed == kNoRef) return ref;
    ref = changed;
  }
  return ref;
}

}  // namespace zeroth::math
