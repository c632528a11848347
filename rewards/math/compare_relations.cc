// Equations, inequalities and definitions.
#include <flint/fmpz_mpoly.h>
#include <flint/fmpz_mpoly_factor.h>

#include <algorithm>
#include <memory>

#include "rewards/math/compare.h"
#include "rewards/math/extract_parts.h"

namespace zeroth::math {

bool Comparer::is_equation(Ref ref) const {
  if (!pool_.is(ref, Op::kRelation)) return false;
  const std::string& signs = pool_.name(ref);
  // x in S states the solution set, x = a (mod m) the residue.
  if (signs == "i" || signs == "=i" || signs == "c" || signs == "cm") return true;
  return std::all_of(signs.begin(), signs.end(), [](char c) { return c == kEq; });
}

// Names, applications, segments |AB|, quotients and tuples of names: what an answer may be assigned
// to.
bool Comparer::only_names(Ref ref) const {
  switch (pool_[ref].op) {
    case Op::kSymbol:
    case Op::kCall:
    case Op::kText:
    case Op::kEuler:
    case Op::kImaginary:
      return true;
    case Op::kMul:
    case Op::kDiv:
    case Op::kTuple:
    case Op::kList:
    case Op::kRatio:
    case Op::kAdd:
      break;
    case Op::kFunction: {
      Function f = static_cast<Function>(pool_[ref].data);
      if (f == Function::kLog) return only_names(pool_.child(ref, 0));
      break;
    }
    case Op::kPow:
      return false;
    default:
      return false;
  }
  for (int i = 0; i < pool_[ref].count; ++i) {
    if (!only_names(pool_.child(ref, i))) return false;
  }
  return pool_[ref].count > 0;
}

bool Comparer::is_assignment(Ref ref) const {
  return is_equation(ref) && only_names(pool_.child(ref, 0));
}

// "7 = x" as "x = 7"; other relations as they are.
Ref Comparer::oriented(Ref equation) {
  if (pool_[equation].count != 2 || codes(equation) != "=") return equation;
  Ref left = pool_.child(equation, 0), right = pool_.child(equation, 1);
  if (only_names(left) || !only_names(right) || !is_scalar(left)) return equation;
  return pool_.make(Op::kRelation, {right, left}, pool_[equation].data);
}

// What two assignments assign to. One name with and one without a subscript (S and S_{ABC}), one
// segment written with and without its bar, and a word for a letter ("Area" for S) are the same.
bool Comparer::same_name(Ref gold, Ref pred, int depth) {
  if (compare(gold, pred, depth + 1)) return true;
  auto unbarred = [&](Ref ref) {
    const bool bars =
        pool_.is(ref, Op::kFunction) && static_cast<Function>(pool_[ref].data) == Function::kAbs;
    return bars ? pool_.child(ref, 0) : ref;
  };
  auto is_word = [&](Ref ref) {
    if (!pool_.is(ref, Op::kSymbol) && !pool_.is(ref, Op::kText)) return false;
    const std::string& name = pool_.name(ref);
    return name.size() > 3 && name.find_first_of("_{^") == std::string::npos;
  };
  auto letters = [&](Ref ref) {
    std::string name = spelling(unbarred(ref));
    if (name.starts_with("bar{") && name.size() > 6) name = name.substr(4, name.size() - 5);
    return lower_case(name);
  };
  const std::string g = letters(gold), p = letters(pred);
  if (g.empty() || p.empty()) return false;
  if (g.size() > 1 && g == p) return true;
  if (is_word(gold) != is_word(pred)) return true;
  const size_t g_base = std::min(g.find('_'), g.size()), p_base = std::min(p.find('_'), p.size());
  const bool one_plain = (g_base == g.size()) != (p_base == p.size());
  return one_plain && g.substr(0, g_base) == p.substr(0, p_base);
}

Ref Comparer::last_term(Ref relation) const {
  const int last = pool_[relation].count - 1;
  return pool_.child(relation, codes(relation).ends_with(kModulo) ? last - 1 : last);
}

// x = 3 (mod 7) is x = 10 (mod 7).
bool Comparer::congruences(Ref gold, Ref pred, int depth) {
  if (!compare(pool_.child(gold, 0), pool_.child(pred, 0), depth + 1)) return false;
  const Ref modulus = pool_.child(gold, 2);
  if (!compare(modulus, pool_.child(pred, 2), depth + 1)) return false;
  const Ref a = pool_.child(gold, 1), b = pool_.child(pred, 1);
  if (!is_scalar(a) || !is_scalar(b)) return false;
  const Ref turns = pool_.div(pool_.sub(a, b), modulus);
  return numbers(a, b) || (pool_.is_number(turns) && pool_.value(turns).is_integer());
}

// "5 = 6", "x = 1 = 2", "x = 2 x = 3": a chain that ends in a constant and contradicts itself
// answers nothing.
bool Comparer::false_statement(Ref equation) {
  const Ref first = pool_.child(equation, 0), last = last_term(equation);
  if (!is_scalar(last) || !pool_.is_constant(last)) return false;
  const int count = pool_[equation].count;
  for (int i = 0; i + 1 < count && i < 8; ++i) {
    Ref term = pool_.child(equation, i);
    if (term == last || !is_scalar(term)) continue;
    if (i > 0 && pool_.is(first, Op::kSymbol) && !pool_.is_constant(term)) {
      const std::vector<int32_t> free = pool_.free_symbols(term);
      if (free.size() != 1 || free[0] != pool_[first].data) continue;
      term = pool_.substitute(term, free[0], last);
      if (term == kNoRef) return false;
    }
    // f(2) = 8 says what f(2) is.
    const bool known = !pool_.contains(term, Op::kCall) && !pool_.contains(term, Op::kOpaque);
    if (known && pool_.is_constant(term) && !numbers(term, last)) return true;
  }
  return false;
}

bool Comparer::relations(Ref gold, Ref pred, int depth) {
  bool g_eq = is_equation(gold), p_eq = is_equation(pred);
  if (g_eq != p_eq) return false;
  if (codes(gold) == "cm" && codes(pred) == "cm") return congruences(gold, pred, depth);
  if (g_eq) {
    // The problem's own equation handed back is no solution of it.
    if (pool_.is(pool_.child(gold, 0), Op::kSymbol) && pool_.is_constant(last_term(gold)) &&
        !is_assignment(pred)) {
      return false;
    }
    if (is_assignment(gold) && is_assignment(pred)) {
      if (definitions(gold, pred, depth)) return true;
      // x = 1 is not y = 1.
      if (!same_name(pool_.child(gold, 0), pool_.child(pred, 0), depth)) {
        return is_scalar(last_term(gold)) && is_scalar(last_term(pred)) && equations(gold, pred);
      }
      return compare(last_term(gold), last_term(pred), depth + 1);
    }
    return equations(gold, pred);
  }
  if (inequality_chains(gold, pred)) return true;
  // |x - 2| < 3 accepts its solution -1 < x < 5, not the other way round.
  if (!solved_form(pred) || pool_.free_symbols(gold) != pool_.free_symbols(pred)) return false;
  bool decided = false;
  return same_region(gold, pred, &decided) && decided;
}

// Constants and one bare variable.
bool Comparer::solved_form(Ref relation) const {
  if (pool_.free_symbols(relation).size() != 1) return false;
  for (int i = 0; i < pool_[relation].count; ++i) {
    const Ref term = pool_.child(relation, i);
    if (!pool_.is(term, Op::kSymbol) && !(is_scalar(term) && pool_.is_constant(term))) return false;
  }
  return true;
}

// The same simple relations in any order.
bool Comparer::inequality_chains(Ref gold, Ref pred) {
  struct Simple {
    Ref difference;
    char code;  // of difference (code) 0, turned to < or <= ; = and != as they are
  };
  auto split = [&](Ref ref) {
    std::vector<Simple> parts;
    std::string signs = codes(ref);
    for (size_t i = 0; i < signs.size(); ++i) {
      Ref a = pool_.child(ref, static_cast<int>(i)), b = pool_.child(ref, static_cast<int>(i) + 1);
      if (!is_scalar(a) || !is_scalar(b)) return std::vector<Simple>{};
      bool flip = signs[i] == kGt || signs[i] == kGe;
      char code = signs[i];
      if (code == kGt) code = kLt;
      if (code == kGe) code = kLe;
      parts.push_back({flip ? pool_.sub(b, a) : pool_.sub(a, b), code});
    }
    return parts;
  };
  if (pool_.hash(gold) == pool_.hash(pred)) return true;
  std::vector<Simple> g = split(gold), p = split(pred);
  if (g.empty() || g.size() != p.size() || g.size() > 8) return false;
  std::vector<bool> used(p.size(), false);
  for (const Simple& a : g) {
    bool found = false;
    for (size_t i = 0; i < p.size() && !found; ++i) {
      if (used[i] || p[i].code != a.code) continue;
      if (!proportional(evaluation_, a.difference, p[i].difference, a.code == kNe || a.code == kEq))
        continue;
      used[i] = found = true;
    }
    if (!found) return false;
  }
  return true;
}

// W(n) = n + 1 and W(x) = x + 1 define the same function: bound variables are renamed.
bool Comparer::definitions(Ref gold, Ref pred, int depth) {
  Ref g = pool_.child(gold, 0), p = pool_.child(pred, 0);
  // y = x + 1 is the graph of f(x) = x + 1.
  auto graph = [&](Ref f, Ref y, Ref value) {
    return pool_.is(f, Op::kCall) && pool_.is(y, Op::kSymbol) && pool_.name(y) == "y" &&
           pool_[f].count == 1 && pool_.is(pool_.child(f, 0), Op::kSymbol) &&
           !pool_.is_constant(value);
  };
  if (graph(g, p, last_term(pred)) || graph(p, g, last_term(gold)))
    return compare(last_term(gold), last_term(pred), depth + 1);
  if (!pool_.is(g, Op::kCall) || !pool_.is(p, Op::kCall) || pool_[g].data != pool_[p].data)
    return false;
  if (pool_[g].count != pool_[p].count) return false;
  Ref value = last_term(pred);
  for (int i = 0; i < pool_[g].count; ++i) {
    Ref from = pool_.child(p, i), to = pool_.child(g, i);
    if (!pool_.is(from, Op::kSymbol) || !pool_.is(to, Op::kSymbol)) return false;
    if (pool_[from].data == pool_[to].data) continue;
    // f(y) = 1/x says nothing about f(x).
    std::vector<int32_t> free = pool_.free_symbols(value);
    if (std::find(free.begin(), free.end(), pool_[to].data) != free.end()) return false;
    value = pool_.substitute(value, pool_[from].data, to);
    if (value == kNoRef) return false;
  }
  return compare(last_term(gold), value, depth + 1);
}

bool Comparer::equations(Ref gold, Ref pred) {
  if (pool_.hash(gold) == pool_.hash(pred)) return true;
  Ref g0 = pool_.child(gold, 0), g1 = last_term(gold), p0 = pool_.child(pred, 0),
      p1 = last_term(pred);
  if (!is_scalar(g0) || !is_scalar(g1) || !is_scalar(p0) || !is_scalar(p1)) {
    return compare(g0, p0, 40) && compare(g1, p1, 40);
  }
  Ref a = pool_.sub(g0, g1), b = pool_.sub(p0, p1);
  return proportional(evaluation_, a, b, true) || same_polynomial_zeros(a, b);
}

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

constexpr slong kMaxTerms = 300;
constexpr int kMaxDegree = 12;

// Numerator and denominator of a rational function; false outside the bounds above.
class Fractions {
 public:
  Fractions(const Pool& pool, const std::vector<int32_t>& symbols, const fmpz_mpoly_ctx_struct* ctx)
      : pool_(pool), symbols_(symbols), ctx_(ctx) {}

  bool read(Ref ref, Polynomial* num, Polynomial* den) {
    if (++steps_ > 400) return false;
    const Node& node = pool_[ref];
    fmpz_mpoly_one(den->p, ctx_);
    switch (node.op) {
      case Op::kNumber:
        if (pool_.value(ref).bits() > 256) return false;
        fmpz_mpoly_set_fmpz(num->p, pool_.value(ref).num(), ctx_);
        fmpz_mpoly_set_fmpz(den->p, pool_.value(ref).den(), ctx_);
        return true;
      case Op::kSymbol: {
        auto it = std::find(symbols_.begin(), symbols_.end(), node.data);
        fmpz_mpoly_gen(num->p, it - symbols_.begin(), ctx_);
        return true;
      }
      case Op::kAdd:
      case Op::kMul:
        return read_many(ref, num, den);
      case Op::kDiv: {
        Polynomial n(ctx_), d(ctx_);
        if (!read(pool_.child(ref, 0), num, den) || !read(pool_.child(ref, 1), &n, &d))
          return false;
        if (fmpz_mpoly_is_zero(n.p, ctx_)) return false;
        return multiply(num, d) && multiply(den, n);
      }
      case Op::kPow: {
        int64_t e = 0;
        Ref exponent = pool_.child(ref, 1);
        if (!pool_.is_number(exponent) || !pool_.value(exponent).to_int(&e) ||
            std::abs(e) > kMaxDegree)
          return false;
        Polynomial n(ctx_), d(ctx_);
        if (!read(pool_.child(ref, 0), &n, &d)) return false;
        if (e < 0 && fmpz_mpoly_is_zero(n.p, ctx_)) return false;
        fmpz_mpoly_one(num->p, ctx_);
        for (int64_t i = 0; i < std::abs(e); ++i) {
          if (!multiply(num, e > 0 ? n : d) || !multiply(den, e > 0 ? d : n)) return false;
        }
        return true;
      }
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

  bool read_many(Ref ref, Polynomial* num, Polynomial* den) {
    bool sum = pool_.is(ref, Op::kAdd);
    if (sum) {
      fmpz_mpoly_zero(num->p, ctx_);
    } else {
      fmpz_mpoly_one(num->p, ctx_);
    }
    for (int i = 0; i < pool_[ref].count; ++i) {
      Polynomial n(ctx_), d(ctx_);
      if (!read(pool_.child(ref, i), &n, &d)) return false;
      if (sum) {  // num/den + n/d
        if (!multiply(num, d) || !multiply(&n, *den) || !multiply(den, d)) return false;
        fmpz_mpoly_add(num->p, num->p, n.p, ctx_);
      } else if (!multiply(num, n) || !multiply(den, d)) {
        return false;
      }
    }
    return true;
  }

  const Pool& pool_;
  const std::vector<int32_t>& symbols_;
  const fmpz_mpoly_ctx_struct* ctx_;
  int steps_ = 0;
};

// The part of num/den whose zeros are the solutions: num without factors of den, primitive.
void reduce(Polynomial* num, const Polynomial& den) {
  Polynomial g(num->ctx);
  while (fmpz_mpoly_gcd(g.p, num->p, den.p, num->ctx) && !fmpz_mpoly_is_fmpz(g.p, num->ctx)) {
    if (!fmpz_mpoly_divides(num->p, num->p, g.p, num->ctx)) break;
  }
}

}  // namespace

// x y = 1 and y = 1/x: the same curve. Numerators must agree up to a constant.
bool Comparer::same_polynomial_zeros(Ref a, Ref b) {
  std::vector<int32_t> symbols = pool_.free_symbols(a);
  for (int32_t id : pool_.free_symbols(b)) {
    if (std::find(symbols.begin(), symbols.end(), id) == symbols.end()) symbols.push_back(id);
  }
  if (symbols.empty() || symbols.size() > 6 || evaluation_.exhausted()) return false;
  fmpz_mpoly_ctx_t ring;
  fmpz_mpoly_ctx_init(ring, static_cast<slong>(symbols.size()), ORD_LEX);
  bool same = false;
  {
    Polynomial na(ring), da(ring), nb(ring), db(ring);
    Fractions fractions(pool_, symbols, ring);
    if (fractions.read(a, &na, &da) && fractions.read(b, &nb, &db) &&
        !fmpz_mpoly_is_zero(na.p, ring) && !fmpz_mpoly_is_zero(nb.p, ring)) {
      reduce(&na, da);
      reduce(&nb, db);
      // na * lead(nb) = nb * lead(na)
      Polynomial left(ring), right(ring);
      fmpz_t lead;
      fmpz_init(lead);
      fmpz_mpoly_get_term_coeff_fmpz(lead, nb.p, 0, ring);
      fmpz_mpoly_scalar_mul_fmpz(left.p, na.p, lead, ring);
      fmpz_mpoly_get_term_coeff_fmpz(lead, na.p, 0, ring);
      fmpz_mpoly_scalar_mul_fmpz(right.p, nb.p, lead, ring);
      fmpz_clear(lead);
      same = fmpz_mpoly_equal(left.p, right.p, ring) && !fmpz_mpoly_is_fmpz(na.p, ring);
    }
  }
  fmpz_mpoly_ctx_clear(ring);
  return same;
}

// A gold equation that is linear in one variable accepts the expression for that variable: y + 1 =
// -(2x - 1)^2 and -4x^2 + 4x - 2.
bool Comparer::solved_by(Ref equation, Ref expression) {
  if (pool_[equation].count != 2 || pool_.is_constant(expression)) return false;
  Ref left = pool_.child(equation, 0), right = last_term(equation);
  if (!is_scalar(left) || !is_scalar(right)) return false;
  Ref difference = pool_.sub(left, right);
  std::vector<int32_t> inside = pool_.free_symbols(expression);
  std::vector<int32_t> all = pool_.free_symbols(difference);
  if (all.size() != inside.size() + 1) return false;
  for (int32_t id : all) {
    if (std::find(inside.begin(), inside.end(), id) != inside.end()) continue;
    Ref at0 = pool_.substitute(difference, id, pool_.integer(0));
    Ref at1 = at0 == kNoRef ? kNoRef : pool_.substitute(difference, id, pool_.integer(1));
    Ref at2 = at1 == kNoRef ? kNoRef : pool_.substitute(difference, id, pool_.integer(2));
    if (at2 == kNoRef) return false;
    Ref slope = pool_.sub(at1, at0);
    if (!same_value(evaluation_, pool_.sub(at2, at1), slope)) continue;
    Ref value = pool_.substitute(difference, id, expression);
    return value != kNoRef && same_value(evaluation_, value, pool_.integer(0)) &&
           !same_value(evaluation_, slope, pool_.integer(0));
  }
  return false;
}

}  // namespace zeroth::math
