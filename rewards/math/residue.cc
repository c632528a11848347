#include "rewards/math/residue.h"

#include <array>
#include <cstdlib>

namespace zeroth::math {

namespace {

uint64_t mul_mod(uint64_t a, uint64_t b) {
  return static_cast<uint64_t>(static_cast<unsigned __int128>(a) * b % kPrime);
}
uint64_t add_mod(uint64_t a, uint64_t b) {
  uint64_t sum = a + b;  // both below 2^61
  return sum >= kPrime ? sum - kPrime : sum;
}
uint64_t pow_mod(uint64_t base, uint64_t exponent) {
  uint64_t result = 1;
  for (; exponent != 0; exponent >>= 1) {
    if (exponent & 1) result = mul_mod(result, base);
    base = mul_mod(base, base);
  }
  return result;
}
uint64_t inverse_mod(uint64_t a) { return pow_mod(a, kPrime - 2); }

// A square root of a quadratic residue (Tonelli 1891, Shanks 1973); p - 1 = 2^s q.
uint64_t root_mod(uint64_t a) {
  uint64_t q = kPrime - 1;
  int s = 0;
  while (q % 2 == 0) {
    q /= 2;
    ++s;
  }
  uint64_t z = 2;
  while (pow_mod(z, (kPrime - 1) / 2) != kPrime - 1) ++z;
  uint64_t m = static_cast<uint64_t>(s), c = pow_mod(z, q), t = pow_mod(a, q),
           r = pow_mod(a, (q + 1) / 2);
  while (t != 1) {
    uint64_t i = 0, t2 = t;
    while (t2 != 1) {
      t2 = mul_mod(t2, t2);
      ++i;
    }
    uint64_t b = c;
    for (uint64_t k = 0; k + i + 1 < m; ++k) b = mul_mod(b, b);
    m = i;
    c = mul_mod(b, b);
    t = mul_mod(t, c);
    r = mul_mod(r, b);
  }
  return r;
}

constexpr std::array<uint64_t, 14> kSmallPrimes = {2,  3,  5,  7,  11, 13, 17,
                                                   19, 23, 29, 31, 37, 41, 43};

struct Roots {
  uint64_t minus_one;
  std::array<uint64_t, kSmallPrimes.size()> primes;
};

const Roots& roots() {
  static const Roots table = [] {
    Roots r{};
    r.minus_one = root_mod(kPrime - 1);
    for (size_t i = 0; i < kSmallPrimes.size(); ++i) r.primes[i] = root_mod(kSmallPrimes[i]);
    return r;
  }();
  return table;
}

uint64_t residue_of_hash(uint64_t h) { return mix64(h) % (kPrime - 2) + 1; }
// A pseudo-random residue for what counts as a variable, per probe point.
uint64_t random_residue(uint64_t seed, int point) {
  return residue_of_hash(seed + static_cast<uint64_t>(point));
}

uint64_t residue_of_integer(int64_t n) {
  return n < 0 ? kPrime - static_cast<uint64_t>(-n) % kPrime : static_cast<uint64_t>(n) % kPrime;
}

// The integers that bounds and bound variables may reach.
constexpr int64_t kMostBound = 1'000'000;

std::optional<uint64_t> residue_of_number(const Rational& q) {
  const uint64_t n = fmpz_fdiv_ui(q.num(), kPrime);
  if (q.is_integer()) return n;
  const uint64_t d = fmpz_fdiv_ui(q.den(), kPrime);
  if (d == 0) return std::nullopt;
  return mul_mod(n, inverse_mod(d));
}

// sqrt(n/d) = sqrt(n d) / d, and n d = s^2 times primes up to 43.
std::optional<uint64_t> residue_of_root(const Rational& radicand) {
  Rational nd;
  fmpz_mul(fmpq_numref(nd.get()), radicand.num(), radicand.den());
  if (nd.bits() > 512) return std::nullopt;
  uint64_t root = 1;
  if (fmpz_sgn(nd.num()) < 0) {
    root = roots().minus_one;
    fmpz_neg(fmpq_numref(nd.get()), nd.num());
  }
  for (size_t i = 0; i < kSmallPrimes.size(); ++i) {
    while (fmpz_divisible_si(nd.num(), static_cast<slong>(kSmallPrimes[i]))) {
      fmpz_divexact_ui(fmpq_numref(nd.get()), nd.num(), kSmallPrimes[i]);
      root = mul_mod(root, roots().primes[i]);
    }
  }
  if (!fmpz_is_square(nd.num())) return std::nullopt;
  fmpz_sqrt(fmpq_numref(nd.get()), nd.num());
  root = mul_mod(root, fmpz_fdiv_ui(nd.num(), kPrime));
  uint64_t d = fmpz_fdiv_ui(radicand.den(), kPrime);
  if (d == 0) return std::nullopt;
  return mul_mod(root, inverse_mod(d));
}

// The value of a sum or product of bound variables and integers, up to kMostBound.
std::optional<int64_t> bound_integer(Evaluation& evaluation, Ref ref) {
  if (!evaluation.charge(1)) return std::nullopt;
  const Pool& pool = evaluation.pool();
  const Node& node = pool[ref];
  switch (node.op) {
    case Op::kNumber: {
      int64_t value = 0;
      if (!pool.value(ref).to_int(&value) || std::abs(value) > kMostBound) return std::nullopt;
      return value;
    }
    case Op::kSymbol:
      return evaluation.bound(node.data);
    case Op::kAdd:
    case Op::kMul: {
      int64_t total = node.op == Op::kAdd ? 0 : 1;
      for (int i = 0; i < node.count; ++i) {
        const auto part = bound_integer(evaluation, pool.child(ref, i));
        if (!part) return std::nullopt;
        total = node.op == Op::kAdd ? total + *part : total * *part;
        if (std::abs(total) > kMostBound) return std::nullopt;
      }
      return total;
    }
    default:
      return std::nullopt;
  }
}

std::optional<uint64_t> residue_of_power(Evaluation& evaluation, Ref base, Ref exponent,
                                         int point) {
  const Pool& pool = evaluation.pool();
  if (!pool.is_number(exponent)) {  // 3^k inside a sum over k
    if (!evaluation.binds_any()) return std::nullopt;
    const auto power = bound_integer(evaluation, exponent);
    const auto b = power ? residue(evaluation, base, point) : std::nullopt;
    if (!b || *b == 0) return std::nullopt;
    const auto order = static_cast<int64_t>(kPrime - 1);  // b^(p-1) = 1 (Fermat)
    return pow_mod(*b, static_cast<uint64_t>(*power < 0 ? *power + order : *power));
  }
  const Rational& e = pool.value(exponent);
  if (!e.is_integer()) {
    // Half-integer powers of rational constants; the principal root of anything else has no
    // algebraic image.
    if (!fmpz_equal_si(e.den(), 2) || !pool.is_number(base)) return std::nullopt;
    auto root = residue_of_root(pool.value(base));
    if (!root || *root == 0) return std::nullopt;
    return pow_mod(*root, fmpz_fdiv_ui(e.num(), kPrime - 1));
  }
  auto b = residue(evaluation, base, point);
  if (!b) return std::nullopt;
  if (*b == 0) {
    if (e.sign() <= 0) return std::nullopt;
    return 0;
  }
  return pow_mod(*b, fmpz_fdiv_ui(e.num(), kPrime - 1));  // Fermat
}

// A sum or product (kAdd, kMul) of terms that are there.
std::optional<uint64_t> residue_of_terms(Evaluation& evaluation, Ref ref, int point) {
  const Pool& pool = evaluation.pool();
  const bool sum = pool.is(ref, Op::kAdd);
  uint64_t total = sum ? 0 : 1;
  for (int i = 0; i < pool[ref].count; ++i) {
    const auto value = residue(evaluation, pool.child(ref, i), point);
    if (!value) return std::nullopt;
    total = sum ? add_mod(total, *value) : mul_mod(total, *value);
  }
  return total;
}

// A sum or product over an index (kSum, kProduct), unrolled when its bounds are integers.
std::optional<uint64_t> residue_of_series(Evaluation& evaluation, Ref ref, int point) {
  const Pool& pool = evaluation.pool();
  const Ref body = pool.child(ref, 0), variable = pool.child(ref, 1);
  int64_t from = 0, to = 0;
  const bool finite = pool.is_number(pool.child(ref, 2)) && pool.is_number(pool.child(ref, 3)) &&
                      pool.value(pool.child(ref, 2)).to_int(&from) &&
                      pool.value(pool.child(ref, 3)).to_int(&to);
  if (!finite || from < -kMostBound || to > kMostBound) return std::nullopt;
  if (to - from >= pool.budget().sum_terms) {
    evaluation.note_limit();
    return std::nullopt;
  }
  const bool sum = pool.is(ref, Op::kSum);
  uint64_t total = sum ? 0 : 1;
  Evaluation::Scope scope(evaluation);
  scope.bind(pool[variable].data, from);
  for (int64_t k = from; k <= to; ++k) {
    scope.set_last(k);
    const auto value = residue(evaluation, body, point);
    if (!value) return std::nullopt;
    total = sum ? add_mod(total, *value) : mul_mod(total, *value);
  }
  return total;
}

// n! for a number n; beyond the prime's reach only what is exact counts.
std::optional<uint64_t> residue_of_factorial(Evaluation& evaluation, Ref argument) {
  const Pool& pool = evaluation.pool();
  int64_t n = 0;
  if (!pool.is_number(argument) || !pool.value(argument).to_int(&n) || n < 0 || n > 20'000)
    return std::nullopt;
  if (!evaluation.charge(1 + n / 50)) return std::nullopt;
  uint64_t product = 1;
  for (int64_t k = 2; k <= n; ++k) product = mul_mod(product, static_cast<uint64_t>(k));
  return product;
}

}  // namespace

uint64_t hash_of_call(Evaluation& evaluation, Ref call, int point) {
  const Pool& pool = evaluation.pool();
  uint64_t h = hash_bytes(pool.name(call));
  for (int i = 0; i < pool[call].count; ++i) {
    const Ref arg = pool.child(call, i);
    const auto value = residue(evaluation, arg, point);
    h = mix64(h ^ (value ? *value : pool.hash(arg)));
  }
  return h;
}

std::optional<uint64_t> residue(Evaluation& evaluation, Ref ref, int point) {
  if (!evaluation.charge(1)) return std::nullopt;
  const Pool& pool = evaluation.pool();
  const Node& node = pool[ref];
  switch (node.op) {
    case Op::kNumber:
      return residue_of_number(pool.value(ref));
    case Op::kSymbol:
      if (const auto value = evaluation.bound(node.data)) return residue_of_integer(*value);
      return random_residue(hash_bytes(pool.name(ref)), point);
    case Op::kPi:
      return random_residue(0x7069, point);
    case Op::kEuler:
      return random_residue(0x65, point);
    case Op::kImaginary:
      return roots().minus_one;
    case Op::kCall:
      return random_residue(hash_of_call(evaluation, ref, point), point);
    case Op::kAdd:
    case Op::kMul:
      return residue_of_terms(evaluation, ref, point);
    case Op::kRatio:
      if (node.count != 2) return std::nullopt;
      [[fallthrough]];
    case Op::kDiv: {
      const auto n = residue(evaluation, pool.child(ref, 0), point);
      const auto d = n ? residue(evaluation, pool.child(ref, 1), point) : std::nullopt;
      if (!d || *d == 0) return std::nullopt;
      return mul_mod(*n, inverse_mod(*d));
    }
    case Op::kPow:
      return residue_of_power(evaluation, pool.child(ref, 0), pool.child(ref, 1), point);
    case Op::kPercent: {
      const auto v = residue(evaluation, pool.child(ref, 0), point);
      if (!v) return std::nullopt;
      return mul_mod(*v, inverse_mod(100));
    }
    case Op::kSum:
    case Op::kProduct:
      return residue_of_series(evaluation, ref, point);
    case Op::kFunction:
      if (static_cast<Function>(node.data) == Function::kFactorial)
        return residue_of_factorial(evaluation, pool.child(ref, 0));
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace zeroth::math
