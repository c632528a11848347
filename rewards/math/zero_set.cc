#include "rewards/math/zero_set.h"

#include <flint/fmpz_mpoly.h>
#include <flint/fmpz_mpoly_factor.h>

#include <algorithm>
#include <cstdlib>

namespace zeroth::math {

namespace {

// A multivariate polynomial over the integers with its ring.
struct Polynomial {
  explicit Polynomial(const fmpz_mpoly_ctx_struct* c) : ctx(c) { fmpz_mpoly_init(p, ctx); }
  ~Polynomial() { fmpz_mpoly_clear(p, ctx); }
  Polynomial(const Polynomial&) = delete;
  Polynomial& operator=(const Polynomial&) = delete;
  fmpz_mpoly_t p;
  const fmpz_mpoly_ctx_struct* ctx;
};

// The ring of polynomials in a number of variables.
struct Ring {
  explicit Ring(size_t variables) {
    fmpz_mpoly_ctx_init(ctx, static_cast<slong>(variables), ORD_LEX);
  }
  ~Ring() { fmpz_mpoly_ctx_clear(ctx); }
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;
  fmpz_mpoly_ctx_t ctx;
};

constexpr slong kMaxTerms = 300;
constexpr int kMaxDegree = 12;
constexpr int kMaxNodes = 400;

// Numerator and denominator of a rational function.
struct Fraction {
  explicit Fraction(const fmpz_mpoly_ctx_struct* ctx) : num(ctx), den(ctx) {}
  Polynomial num, den;
};

// Reads trees as fractions; false outside the bounds above, and for 1/0.
class FractionReader {
 public:
  FractionReader(const Pool& pool, const std::vector<int32_t>& symbols,
                 const fmpz_mpoly_ctx_struct* ctx)
      : pool_(pool), symbols_(symbols), ctx_(ctx) {}

  bool read(Ref ref, Fraction* out) {
    if (++nodes_ > kMaxNodes) return false;
    const Node& node = pool_[ref];
    fmpz_mpoly_one(out->den.p, ctx_);
    switch (node.op) {
      case Op::kNumber:
        if (pool_.value(ref).bits() > 256) return false;
        fmpz_mpoly_set_fmpz(out->num.p, pool_.value(ref).num(), ctx_);
        fmpz_mpoly_set_fmpz(out->den.p, pool_.value(ref).den(), ctx_);
        return true;
      case Op::kSymbol: {
        const auto it = std::find(symbols_.begin(), symbols_.end(), node.data);
        fmpz_mpoly_gen(out->num.p, it - symbols_.begin(), ctx_);
        return true;
      }
      case Op::kAdd:
        return read_sum(ref, out);
      case Op::kMul:
        return read_product(ref, out);
      case Op::kDiv:
        return read_quotient(ref, out);
      case Op::kPow:
        return read_power(ref, out);
      default:
        return false;
    }
  }

 private:
  bool multiply(Polynomial* a, const Polynomial& b) {
    if (fmpz_mpoly_length(a->p, ctx_) * fmpz_mpoly_length(b.p, ctx_) > 4 * kMaxTerms) return false;
    fmpz_mpoly_mul(a->p, a->p, b.p, ctx_);
    return fmpz_mpoly_length(a->p, ctx_) <= kMaxTerms && fmpz_mpoly_degrees_fit_si(a->p, ctx_) &&
           fmpz_mpoly_total_degree_si(a->p, ctx_) <= 3 * kMaxDegree &&
           fmpz_mpoly_max_bits(a->p) < 4096 && fmpz_mpoly_max_bits(a->p) > -4096;
  }

  bool read_sum(Ref ref, Fraction* out) {
    fmpz_mpoly_zero(out->num.p, ctx_);
    for (Ref kid : pool_.children(ref)) {
      Fraction term(ctx_);
      if (!read(kid, &term)) return false;
      // num/den + n/d = (num d + n den) / (den d)
      if (!multiply(&out->num, term.den) || !multiply(&term.num, out->den) ||
          !multiply(&out->den, term.den))
        return false;
      fmpz_mpoly_add(out->num.p, out->num.p, term.num.p, ctx_);
    }
    return true;
  }

  bool read_product(Ref ref, Fraction* out) {
    fmpz_mpoly_one(out->num.p, ctx_);
    for (Ref kid : pool_.children(ref)) {
      Fraction factor(ctx_);
      if (!read(kid, &factor) || !multiply(&out->num, factor.num) ||
          !multiply(&out->den, factor.den))
        return false;
    }
    return true;
  }

  bool read_quotient(Ref ref, Fraction* out) {
    Fraction divisor(ctx_);
    if (!read(pool_.child(ref, 0), out) || !read(pool_.child(ref, 1), &divisor)) return false;
    if (fmpz_mpoly_is_zero(divisor.num.p, ctx_)) return false;
    return multiply(&out->num, divisor.den) && multiply(&out->den, divisor.num);
  }

  bool read_power(Ref ref, Fraction* out) {
    int64_t e = 0;
    const Ref exponent = pool_.child(ref, 1);
    if (!pool_.is_number(exponent) || !pool_.value(exponent).to_int(&e) || std::abs(e) > kMaxDegree)
      return false;
    Fraction base(ctx_);
    if (!read(pool_.child(ref, 0), &base)) return false;
    if (e < 0 && fmpz_mpoly_is_zero(base.num.p, ctx_)) return false;
    fmpz_mpoly_one(out->num.p, ctx_);
    for (int64_t i = 0; i < std::abs(e); ++i) {
      if (!multiply(&out->num, e > 0 ? base.num : base.den) ||
          !multiply(&out->den, e > 0 ? base.den : base.num))
        return false;
    }
    return true;
  }

  const Pool& pool_;
  const std::vector<int32_t>& symbols_;
  const fmpz_mpoly_ctx_struct* ctx_;
  int nodes_ = 0;
};

// The part of num/den whose zeros are the solutions: num without the factors of den.
void reduce(Fraction* fraction) {
  Polynomial &num = fraction->num, g(num.ctx);
  while (fmpz_mpoly_gcd(g.p, num.p, fraction->den.p, num.ctx) &&
         !fmpz_mpoly_is_fmpz(g.p, num.ctx)) {
    if (!fmpz_mpoly_divides(num.p, num.p, g.p, num.ctx)) break;
  }
}

// a * lead(b) = b * lead(a), and a is no constant.
bool same_up_to_factor(const Polynomial& a, const Polynomial& b) {
  Polynomial left(a.ctx), right(a.ctx);
  Rational lead;
  fmpz* const coefficient = fmpq_numref(lead.get());
  fmpz_mpoly_get_term_coeff_fmpz(coefficient, b.p, 0, a.ctx);
  fmpz_mpoly_scalar_mul_fmpz(left.p, a.p, coefficient, a.ctx);
  fmpz_mpoly_get_term_coeff_fmpz(coefficient, a.p, 0, a.ctx);
  fmpz_mpoly_scalar_mul_fmpz(right.p, b.p, coefficient, a.ctx);
  return fmpz_mpoly_equal(left.p, right.p, a.ctx) && !fmpz_mpoly_is_fmpz(a.p, a.ctx);
}

}  // namespace

bool same_zero_set(const Evaluation& evaluation, Ref a, Ref b) {
  const Pool& pool = evaluation.pool();
  std::vector<int32_t> symbols = pool.free_symbols(a);
  for (int32_t id : pool.free_symbols(b)) {
    if (std::find(symbols.begin(), symbols.end(), id) == symbols.end()) symbols.push_back(id);
  }
  if (symbols.empty() || symbols.size() > 6 || evaluation.exhausted()) return false;
  const Ring ring(symbols.size());
  Fraction fa(ring.ctx), fb(ring.ctx);
  FractionReader reader(pool, symbols, ring.ctx);
  if (!reader.read(a, &fa) || !reader.read(b, &fb)) return false;
  if (fmpz_mpoly_is_zero(fa.num.p, ring.ctx) || fmpz_mpoly_is_zero(fb.num.p, ring.ctx))
    return false;
  reduce(&fa);
  reduce(&fb);
  return same_up_to_factor(fa.num, fb.num);
}

}  // namespace zeroth::math
