#include "rewards/math/plus_minus.h"

#include "rewards/math/arith.h"

namespace zeroth::math {

namespace {

bool is_sign(const Pool& pool, Ref ref) {
  return pool.is(ref, Op::kPlusMinus) || pool.is(ref, Op::kMinusPlus);
}

struct SignCount {
  int plus_minus = 0, minus_plus = 0;
  int all() const { return plus_minus + minus_plus; }
};

void count_signs(const Pool& pool, Ref ref, SignCount* count) {
  if (pool.is(ref, Op::kPlusMinus)) ++count->plus_minus;
  if (pool.is(ref, Op::kMinusPlus)) ++count->minus_plus;
  for (Ref kid : pool.children(ref)) count_signs(pool, kid, count);
}

SignCount signs_in(const Pool& pool, Ref ref) {
  SignCount count;
  count_signs(pool, ref, &count);
  return count;
}

// Chooses signs from the bits of a number, one bit per sign, or bit 0 for all of them together.
class SignChoice {
 public:
  SignChoice(Pool& pool, uint32_t bits, bool together)
      : pool_(pool), bits_(bits), together_(together) {}

  // The tree with its signs chosen; kNoRef where one has no meaning.
  Ref apply(Ref ref) {
    if (pool_[ref].count == 0) return ref;
    const bool sign = is_sign(pool_, ref);
    const int place = sign && !together_ ? next_++ : 0;
    std::vector<Ref> kids = pool_.copy_children(ref);
    bool changed = false;
    for (Ref& kid : kids) {
      const Ref chosen = apply(kid);
      if (chosen == kNoRef) return kNoRef;
      changed |= chosen != kid;
      kid = chosen;
    }
    if (sign) {
      const bool negative = ((bits_ >> place & 1) != 0) != pool_.is(ref, Op::kMinusPlus);
      return negative ? combine_mul(pool_, pool_.integer(-1), kids[0]) : kids[0];
    }
    return changed ? pool_.rebuild(ref, kids) : ref;
  }

 private:
  Pool& pool_;
  uint32_t bits_;
  bool together_;
  int next_ = 0;
};

// The sets inside `ref` with their members' signs opened: R \ {+-2} is R \ {2, -2}.
Ref open_inner_sets(Pool& pool, Ref ref) {
  if (!pool.contains(ref, Op::kSet) || pool.full()) return ref;
  std::vector<Ref> kids = pool.copy_children(ref);
  for (Ref& kid : kids) {
    kid = pool.is(kid, Op::kSet) ? expand_signs(pool, kid)[0] : open_inner_sets(pool, kid);
  }
  const Node node = pool[ref];
  return pool.make(node.op, kids, node.data, node.flag);
}

// A set or list with each member opened on its own.
Ref open_members(Pool& pool, Ref ref) {
  std::vector<Ref> members;
  for (Ref kid : pool.copy_children(ref)) {
    for (Ref variant : expand_signs(pool, kid)) members.push_back(variant);
  }
  return pool.make(pool[ref].op, members);
}

}  // namespace

std::vector<Ref> expand_signs(Pool& pool, Ref ref) {
  const SignCount count = signs_in(pool, ref);
  if (count.all() == 0) return {ref};
  if (!pool.is(ref, Op::kSet) && pool.contains(ref, Op::kSet)) {
    const Ref opened = open_inner_sets(pool, ref);
    if (opened != ref && !pool.full() && signs_in(pool, opened).all() == 0) return {opened};
  }
  if (pool.is(ref, Op::kSet) || pool.is(ref, Op::kList)) return {open_members(pool, ref)};
  const bool together = count.minus_plus > 0 || count.plus_minus > 4;
  const uint32_t choices = together ? 2 : 1u << count.plus_minus;
  std::vector<Ref> variants;
  for (uint32_t bits = 0; bits < choices && !pool.full(); ++bits) {
    const Ref variant = SignChoice(pool, bits, together).apply(ref);
    if (variant != kNoRef) variants.push_back(variant);
  }
  return variants;
}

}  // namespace zeroth::math
