#include "rewards/math/expr.h"

#include <flint/arith.h>
#include <flint/fmpz.h>

#include <algorithm>
#include <functional>

namespace zeroth::math {

uint64_t mix64(uint64_t x) {  // finaliser of SplitMix64 (Steele et al. 2014)
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t hash_bytes(std::string_view bytes) {  // FNV-1a, then mixed
  uint64_t h = 0xcbf29ce484222325ULL;
  for (char c : bytes) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return mix64(h);
}

void Pool::clear() {
  nodes_.clear();
  kids_.clear();
  numbers_.clear();
  names_.clear();
  ids_.clear();
  too_deep_ = false;
}

int32_t Pool::intern(std::string_view name) {
  // Answers have few names: looking along them is faster than a table.
  constexpr size_t kFew = 16;
  const auto next = static_cast<int32_t>(names_.size());
  if (names_.size() <= kFew) {
    const auto known = std::find(names_.begin(), names_.end(), name);
    if (known != names_.end()) return static_cast<int32_t>(known - names_.begin());
    names_.emplace_back(name);
    if (names_.size() > kFew) {
      for (size_t i = 0; i < names_.size(); ++i) ids_[names_[i]] = static_cast<int32_t>(i);
    }
    return next;
  }
  auto [it, fresh] = ids_.try_emplace(std::string(name), next);
  if (fresh) names_.emplace_back(name);
  return it->second;
}

Ref Pool::make(Op op, std::span<const Ref> kids, int32_t data, uint8_t flag) {
  Node node{op, flag, static_cast<int32_t>(kids_.size()), static_cast<int32_t>(kids.size()), data};
  // Nodes are shared, so that a power of a matrix has a small pool and a huge tree: walks over
  // trees are bounded by both.
  const int64_t max_size = int64_t{4} * budget_.nodes;
  int64_t size = 1;
  for (Ref kid : kids) {
    node.height = std::max(node.height, (*this)[kid].height + 1);
    size += (*this)[kid].size;
  }
  node.size = static_cast<int32_t>(std::min(size, max_size));
  const bool outgrown = node.height > kMaxHeight || size > max_size;
  if (outgrown) too_deep_ = true;
  // `kids` may point into kids_, which moves when it grows.
  const std::less<const Ref*> before;
  const bool inside = !kids.empty() && !before(kids.data(), kids_.data()) &&
                      before(kids.data(), kids_.data() + kids_.size());
  const auto from = inside ? kids.data() - kids_.data() : 0;
  const size_t old = kids_.size();
  kids_.resize(old + kids.size());
  std::copy_n(inside ? kids_.data() + from : kids.data(), kids.size(), kids_.data() + old);
  if (outgrown) {  // keeps recursion bounded until the caller sees full()
    node = Node{Op::kText, 0, 0, 0, intern("too deep")};
  }
  nodes_.push_back(node);
  return static_cast<Ref>(nodes_.size() - 1);
}

Ref Pool::number(Rational value, bool decimal) {
  numbers_.push_back(std::move(value));
  return make(Op::kNumber, std::initializer_list<Ref>{}, static_cast<int32_t>(numbers_.size() - 1),
              decimal ? kDecimalFlag : 0);
}

Ref Pool::add(Ref a, Ref b) {
  if (is_number(a) && is_number(b)) {
    Rational sum;
    fmpq_add(sum.get(), value(a).get(), value(b).get());
    if (sum.bits() <= budget_.exact_bits) return number(std::move(sum));
  }
  if (is_number(a) && value(a).is_zero()) return b;
  if (is_number(b) && value(b).is_zero()) return a;
  std::vector<Ref> terms;
  for (Ref side : {a, b}) {
    if (is(side, Op::kAdd)) {
      for (Ref kid : children(side)) terms.push_back(kid);
    } else {
      terms.push_back(side);
    }
  }
  return make(Op::kAdd, terms);
}

Ref Pool::mul(Ref a, Ref b) {
  if (is_number(a) && is_number(b)) {
    Rational product;
    fmpq_mul(product.get(), value(a).get(), value(b).get());
    if (product.bits() <= budget_.exact_bits) return number(std::move(product));
  }
  if (is_number(a) && value(a).is_one()) return b;
  if (is_number(b) && value(b).is_one()) return a;
  std::vector<Ref> factors;
  for (Ref side : {a, b}) {
    if (is(side, Op::kMul)) {
      for (Ref kid : children(side)) factors.push_back(kid);
    } else {
      factors.push_back(side);
    }
  }
  return make(Op::kMul, factors);
}

Ref Pool::neg(Ref a) {
  if (is_number(a)) {
    Rational minus;
    fmpq_neg(minus.get(), value(a).get());
    return number(std::move(minus), (*this)[a].flag & kDecimalFlag);
  }
  if (is(a, Op::kPercent) || is(a, Op::kDegree)) return make((*this)[a].op, {neg(child(a, 0))});
  return mul(integer(-1), a);
}

Ref Pool::div(Ref a, Ref b) {
  if (is_number(a) && is_number(b) && !value(b).is_zero()) {
    Rational quotient;
    fmpq_div(quotient.get(), value(a).get(), value(b).get());
    if (quotient.bits() <= budget_.exact_bits) return number(std::move(quotient));
  }
  if (is_number(b) && value(b).is_one()) return a;
  return make(Op::kDiv, {a, b});
}

// base^(p/q) when it is rational: both parts of the base perfect q-th powers and the result within
// the budget.
static bool exact_power(const Rational& base, const Rational& exponent, int max_bits,
                        Rational* out) {
  if (!fmpz_fits_si(exponent.num()) || !fmpz_fits_si(exponent.den())) {
    if (!exponent.is_integer()) return false;
    // Huge integer exponents keep only 0, 1 and -1 within the budget.
    if (base.is_one() || (base.is_zero() && exponent.sign() > 0)) {
      *out = base;
      return true;
    }
    return false;
  }
  int64_t p = fmpz_get_si(exponent.num()), q = fmpz_get_si(exponent.den());
  if (base.is_zero()) {
    if (p <= 0) return false;
    *out = base;
    return true;
  }
  if (q > 64 || (q > 1 && base.sign() < 0)) return false;
  Rational root = base;
  if (q > 1) {
    if (!fmpz_root(fmpq_numref(root.get()), base.num(), q) ||
        !fmpz_root(fmpq_denref(root.get()), base.den(), q)) {
      return false;
    }
  }
  if (root.is_one()) {
    *out = root;
    return true;
  }
  bool minus_one = fmpz_is_one(root.den()) && fmpz_equal_si(root.num(), -1);
  if (minus_one) {
    *out = Rational(p % 2 == 0 ? 1 : -1);
    return true;
  }
  int64_t magnitude = p < 0 ? -(p + 1) : p;
  if (magnitude > max_bits || (root.bits() - 1) * magnitude > max_bits) return false;
  fmpq_pow_si(out->get(), root.get(), p);
  return true;
}

Ref Pool::pow(Ref base, Ref exponent) {
  if (is_number(exponent) && value(exponent).is_one()) return base;
  if (is_number(base) && is_number(exponent)) {
    Rational result;
    if (exact_power(value(base), value(exponent), budget_.exact_bits, &result)) {
      return number(std::move(result));
    }
  }
  return make(Op::kPow, {base, exponent});
}

Ref Pool::root(Ref radicand, Ref degree) { return pow(radicand, div(integer(1), degree)); }

namespace {

bool as_integer(const Pool& pool, Ref ref, int64_t* out) {
  return pool.is_number(ref) && pool.value(ref).to_int(out);
}

void floor_of(const Rational& q, bool up, Rational* out) {
  fmpz_t n;
  fmpz_init(n);
  if (up) {
    fmpz_cdiv_q(n, q.num(), q.den());
  } else {
    fmpz_fdiv_q(n, q.num(), q.den());
  }
  fmpq_set_fmpz(out->get(), n);
  fmpz_clear(n);
}

// Exact values of functions of rationals; false when there is none within the budget.
bool fold_function(const Pool& pool, Function f, std::span<const Ref> args, Rational* out) {
  for (Ref arg : args) {
    if (!pool.is_number(arg)) return false;
  }
  const Rational& x = pool.value(args[0]);
  int64_t n = 0, k = 0;
  switch (f) {
    case Function::kAbs:
      fmpq_abs(out->get(), x.get());
      return true;
    case Function::kFloor:
    case Function::kCeil:
      floor_of(x, f == Function::kCeil, out);
      return true;
    case Function::kFactorial:
      if (!as_integer(pool, args[0], &n) || n < 0 || n > pool.budget().exact_bits / 8) return false;
      fmpz_fac_ui(fmpq_numref(out->get()), static_cast<ulong>(n));
      return out->bits() <= pool.budget().exact_bits;
    case Function::kBinomial:
      if (!as_integer(pool, args[0], &n) || !as_integer(pool, args[1], &k) || n < 0 || k < 0)
        return false;
      if (k > n) return true;  // zero
      k = std::min(k, n - k);
      if (k > 2000 || n > 1'000'000'000'000 ||
          k * static_cast<int64_t>(FLINT_BIT_COUNT(n)) > 8 * pool.budget().exact_bits) {
        return false;
      }
      fmpz_bin_uiui(fmpq_numref(out->get()), static_cast<ulong>(n), static_cast<ulong>(k));
      return out->bits() <= pool.budget().exact_bits;
    case Function::kGcd:
    case Function::kLcm:
      *out = Rational(f == Function::kLcm ? 1 : 0);
      for (Ref arg : args) {
        const Rational& v = pool.value(arg);
        if (!v.is_integer()) return false;
        if (f == Function::kGcd) {
          fmpz_gcd(fmpq_numref(out->get()), out->num(), v.num());
        } else {
          fmpz_lcm(fmpq_numref(out->get()), out->num(), v.num());
        }
        if (out->bits() > pool.budget().exact_bits) return false;
      }
      return true;
    case Function::kMax:
    case Function::kMin:
      *out = x;
      for (Ref arg : args) {
        const Rational& v = pool.value(arg);
        if (f == Function::kMax ? *out < v : v < *out) *out = v;
      }
      return true;
    case Function::kMod: {
      const Rational& m = pool.value(args[1]);
      if (!x.is_integer() || !m.is_integer() || m.sign() <= 0) return false;
      fmpz_mod(fmpq_numref(out->get()), x.num(), m.num());
      return true;
    }
    case Function::kRe:
    case Function::kConj:
      *out = x;
      return true;
    case Function::kIm:
      return true;  // zero
    default:
      return false;
  }
}

}  // namespace

Ref Pool::function(Function f, std::span<const Ref> args) {
  Rational exact;
  if (!args.empty() && fold_function(*this, f, args, &exact)) return number(std::move(exact));
  return make(Op::kFunction, args, static_cast<int32_t>(f));
}

Ref Pool::rebuild(Ref ref, std::span<const Ref> kids) {
  const Node node = (*this)[ref];
  Ref result = kNoRef;
  switch (node.op) {
    case Op::kAdd:
      for (Ref kid : kids) result = result == kNoRef ? kid : add(result, kid);
      return result;
    case Op::kMul:
      for (Ref kid : kids) result = result == kNoRef ? kid : mul(result, kid);
      return result;
    case Op::kDiv:
      return div(kids[0], kids[1]);
    case Op::kPow:
      return pow(kids[0], kids[1]);
    case Op::kFunction:
      return function(static_cast<Function>(node.data), kids);
    default:
      return make(node.op, kids, node.data, node.flag);
  }
}

Ref Pool::substitute(Ref ref, int32_t symbol, Ref value) {
  if (full()) return kNoRef;
  const Node node = (*this)[ref];
  if (node.op == Op::kSymbol) return node.data == symbol ? value : ref;
  if (node.count == 0) return ref;
  std::vector<Ref> kids = copy_children(ref);
  bool changed = false;
  for (size_t i = 0; i < kids.size(); ++i) {
    // The bound variable of a sum is not the free one of the same name.
    bool binder = node.op == Op::kSum || node.op == Op::kProduct;
    if (binder && i < 2 && (*this)[kids[1]].data == symbol) continue;
    Ref kid = substitute(kids[i], symbol, value);
    if (kid == kNoRef) return kNoRef;
    changed |= kid != kids[i];
    kids[i] = kid;
  }
  return changed ? rebuild(ref, kids) : ref;
}

static void collect_symbols(const Pool& pool, Ref ref, std::vector<int32_t>* bound,
                            std::vector<int32_t>* out) {
  const Node& node = pool[ref];
  auto has = [](const std::vector<int32_t>& list, int32_t id) {
    return std::find(list.begin(), list.end(), id) != list.end();
  };
  if (node.op == Op::kSymbol) {
    if (!has(*bound, node.data) && !has(*out, node.data)) out->push_back(node.data);
    return;
  }
  if (node.op == Op::kSum || node.op == Op::kProduct) {
    collect_symbols(pool, pool.child(ref, 2), bound, out);
    collect_symbols(pool, pool.child(ref, 3), bound, out);
    bound->push_back(pool[pool.child(ref, 1)].data);
    collect_symbols(pool, pool.child(ref, 0), bound, out);
    bound->pop_back();
    return;
  }
  for (int i = 0; i < node.count; ++i) collect_symbols(pool, pool.child(ref, i), bound, out);
}

std::vector<int32_t> Pool::free_symbols(Ref ref) const {
  std::vector<int32_t> bound, out;
  collect_symbols(*this, ref, &bound, &out);
  return out;
}

bool Pool::contains(Ref ref, Op op) const {
  const Node& node = (*this)[ref];
  if (node.op == op) return true;
  for (int i = 0; i < node.count; ++i) {
    if (contains(child(ref, i), op)) return true;
  }
  return false;
}

uint64_t Pool::hash(Ref ref) const {
  const Node& node = (*this)[ref];
  uint64_t h = mix64(static_cast<uint64_t>(node.op) + 1);
  switch (node.op) {
    case Op::kNumber:
      if (!COEFF_IS_MPZ(*value(ref).num()) && !COEFF_IS_MPZ(*value(ref).den())) {
        return mix64(mix64(h ^ static_cast<uint64_t>(*value(ref).num())) ^
                     static_cast<uint64_t>(*value(ref).den()));
      }
      return mix64(h ^ hash_bytes(value(ref).to_string()));
    case Op::kSymbol:
    case Op::kText:
    case Op::kSpecialSet:
      return mix64(h ^ hash_bytes(name(ref)));
    case Op::kCall:
    case Op::kOpaque:
    case Op::kRelation:
      h ^= hash_bytes(name(ref));
      break;
    case Op::kBase:
      return mix64(h ^ hash_bytes(name(ref)) ^ node.flag);
    case Op::kFunction:
    case Op::kMatrix:
      h ^= mix64(static_cast<uint64_t>(node.data) + 1000);
      break;
    case Op::kInterval:
      h ^= node.flag;
      break;
    case Op::kSetBuilder:
      h ^= node.flag & kJoinedByOr;
      break;
    default:
      break;
  }
  bool commutative = node.op == Op::kAdd || node.op == Op::kMul || node.op == Op::kUnion ||
                     node.op == Op::kIntersection || node.op == Op::kSet || node.op == Op::kList;
  uint64_t sum = 0;
  for (int i = 0; i < node.count; ++i) {
    uint64_t kid = hash(child(ref, i));
    if (commutative) {
      sum += mix64(kid);
    } else {
      h = mix64(h ^ kid);
    }
  }
  return mix64(h + sum + static_cast<uint64_t>(node.count));
}

}  // namespace zeroth::math
