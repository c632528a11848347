// Evaluation modulo kPrime.
#include <array>

#include "rewards/math/evaluate.h"

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

}  // namespace

// sqrt(n/d) = sqrt(n d) / d, and n d = s^2 times primes up to 43.
std::optional<uint64_t> Evaluator::residue_of_root(const Rational& radicand) {
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

std::optional<uint64_t> Evaluator::residue_of_power(Ref base, Ref exponent, int point) {
  if (!pool_.is_number(exponent)) {  // 3^k inside a sum over k
    int64_t power = 0;
    if (bindings_.empty() || !bound_integer(exponent, &power)) return std::nullopt;
    auto b = residue(base, point);
    if (!b || *b == 0) return std::nullopt;
    const auto e = static_cast<int64_t>(kPrime - 1);
    return pow_mod(*b, static_cast<uint64_t>(power < 0 ? power + e : power));
  }
  const Rational& e = pool_.value(exponent);
  if (!e.is_integer()) {
    // Half-integer powers of rational constants; the principal root of anything else has no
    // algebraic image.
    if (!fmpz_equal_si(e.den(), 2) || !pool_.is_number(base)) return std::nullopt;
    auto root = residue_of_root(pool_.value(base));
    if (!root || *root == 0) return std::nullopt;
    return pow_mod(*root, fmpz_fdiv_ui(e.num(), kPrime - 1));
  }
  auto b = residue(base, point);
  if (!b) return std::nullopt;
  if (*b == 0) {
    if (e.sign() <= 0) return std::nullopt;
    return 0;
  }
  return pow_mod(*b, fmpz_fdiv_ui(e.num(), kPrime - 1));  // Fermat
}

// The value of a sum or product of bound variables and integers, up to a million.
bool Evaluator::bound_integer(Ref ref, int64_t* out) {
  constexpr int64_t kMost = 1'000'000;
  if (!charge(1)) return false;
  const Node& node = pool_[ref];
  switch (node.op) {
    case Op::kNumber:
      return pool_.value(ref).to_int(out) && std::abs(*out) <= kMost;
    case Op::kSymbol:
      for (auto it = bindings_.rbegin(); it != bindings_.rend(); ++it) {
        if (it->first != node.data) continue;
        *out = it->second;
        return true;
      }
      return false;
    case Op::kAdd:
    case Op::kMul:
      *out = node.op == Op::kAdd ? 0 : 1;
      for (int i = 0; i < node.count; ++i) {
        int64_t part = 0;
        if (!bound_integer(pool_.child(ref, i), &part)) return false;
        *out = node.op == Op::kAdd ? *out + part : *out * part;
        if (std::abs(*out) > kMost) return false;
      }
      return true;
    default:
      return false;
  }
}

// Unrolled, when the bounds are integers.
std::optional<uint64_t> Evaluator::residue_of_sum(Ref ref, int point) {
  const Ref body = pool_.child(ref, 0), variable = pool_.child(ref, 1);
  int64_t from = 0, to = 0;
  const bool finite = pool_.is_number(pool_.child(ref, 2)) &&
                      pool_.is_number(pool_.child(ref, 3)) &&
                      pool_.value(pool_.child(ref, 2)).to_int(&from) &&
                      pool_.value(pool_.child(ref, 3)).to_int(&to);
  if (!finite || from < -1'000'000 || to > 1'000'000) return std::nullopt;
  if (to - from >= pool_.budget().sum_terms) {
    limited_ = true;
    return std::nullopt;
  }
  const bool sum = pool_.is(ref, Op::kSum);
  uint64_t total = sum ? 0 : 1;
  bindings_.emplace_back(pool_[variable].data, from);
  bool ok = true;
  for (int64_t k = from; ok && k <= to; ++k) {
    bindings_.back().second = k;
    const auto value = residue(body, point);
    ok = value.has_value();
    if (ok) total = sum ? add_mod(total, *value) : mul_mod(total, *value);
  }
  bindings_.pop_back();
  return ok ? std::optional<uint64_t>(total) : std::nullopt;
}

// n! for a number n; beyond the prime's reach only what is exact counts.
std::optional<uint64_t> Evaluator::residue_of_factorial(Ref argument) {
  int64_t n = 0;
  if (!pool_.is_number(argument) || !pool_.value(argument).to_int(&n) || n < 0 || n > 20'000)
    return std::nullopt;
  if (!charge(1 + n / 50)) return std::nullopt;
  uint64_t product = 1;
  for (int64_t k = 2; k <= n; ++k) product = mul_mod(product, static_cast<uint64_t>(k));
  return product;
}

uint64_t Evaluator::argument_hash(Ref call, int point) {
  uint64_t h = hash_bytes(pool_.name(call));
  for (int i = 0; i < pool_[call].count; ++i) {
    Ref arg = pool_.child(call, i);
    auto value = residue(arg, point);
    h = mix64(h ^ (value ? *value : pool_.hash(arg)));
  }
  return h;
}

std::optional<uint64_t> Evaluator::residue(Ref ref, int point) {
  if (!charge(1)) return std::nullopt;
  const Node& node = pool_[ref];
  switch (node.op) {
    case Op::kNumber: {
      const Rational& q = pool_.value(ref);
      uint64_t n = fmpz_fdiv_ui(q.num(), kPrime);
      if (q.is_integer()) return n;
      uint64_t d = fmpz_fdiv_ui(q.den(), kPrime);
      if (d == 0) return std::nullopt;
      return mul_mod(n, inverse_mod(d));
    }
    case Op::kSymbol: {
      for (auto it = bindings_.rbegin(); it != bindings_.rend(); ++it) {
        if (it->first != node.data) continue;
        return it->second < 0 ? kPrime - static_cast<uint64_t>(-it->second) % kPrime
                              : static_cast<uint64_t>(it->second) % kPrime;
      }
      return residue_of_hash(hash_bytes(pool_.name(ref)) + static_cast<uint64_t>(point));
    }
    case Op::kPi:
      return residue_of_hash(0x7069 + static_cast<uint64_t>(point));
    case Op::kEuler:
      return residue_of_hash(0x65 + static_cast<uint64_t>(point));
    case Op::kImaginary:
      return roots().minus_one;
    case Op::kCall:
      return residue_of_hash(argument_hash(ref, point) + static_cast<uint64_t>(point));
    case Op::kAdd: {
      uint64_t sum = 0;
      for (int i = 0; i < node.count; ++i) {
        auto v = residue(pool_.child(ref, i), point);
        if (!v) return std::nullopt;
        sum = add_mod(sum, *v);
      }
      return sum;
    }
    case Op::kMul: {
      uint64_t product = 1;
      for (int i = 0; i < node.count; ++i) {
        auto v = residue(pool_.child(ref, i), point);
        if (!v) return std::nullopt;
        product = mul_mod(product, *v);
      }
      return product;
    }
    case Op::kRatio:
      if (node.count != 2) return std::nullopt;
      [[fallthrough]];
    case Op::kDiv: {
      auto n = residue(pool_.child(ref, 0), point);
      auto d = n ? residue(pool_.child(ref, 1), point) : std::nullopt;
      if (!d || *d == 0) return std::nullopt;
      return mul_mod(*n, inverse_mod(*d));
    }
    case Op::kPow:
      return residue_of_power(pool_.child(ref, 0), pool_.child(ref, 1), point);
    case Op::kPercent: {
      auto v = residue(pool_.child(ref, 0), point);
      if (!v) return std::nullopt;
      return mul_mod(*v, inverse_mod(100));
    }
    case Op::kSum:
    case Op::kProduct:
      return residue_of_sum(ref, point);
    case Op::kFunction:
      if (static_cast<Function>(node.data) == Function::kFactorial)
        return residue_of_factorial(pool_.child(ref, 0));
      return std::nullopt;
    default:
      return std::nullopt;
  }
}

}  // namespace zeroth::math
