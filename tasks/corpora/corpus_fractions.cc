#include "tasks/corpora/corpus_fractions.h"

#include <numeric>

#include "tasks/corpora/corpus_countdown.h"
#include "tasks/options.h"

namespace zeroth {
namespace {

struct Sum {
  int a, b, c, d;  // a/b op c/d
  char op;
  int numerator() const { return op == '+' ? a * d + c * b : a * d - c * b; }
  int denominator() const { return b * d; }
  std::string prompt() const { return "Compute $" + fraction(a, b) + op + fraction(c, d) + "$."; }
  static std::string fraction(int n, int d) {
    return "\\frac{" + std::to_string(n) + "}{" + std::to_string(d) + "}";
  }
};

Sum draw(Rng& rng, int max_denominator) {
  Sum s{};
  s.b = 2 + static_cast<int>(rng.below(static_cast<uint32_t>(max_denominator - 1)));
  s.d = 2 + static_cast<int>(rng.below(static_cast<uint32_t>(max_denominator - 1)));
  s.a = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(s.b - 1)));
  s.c = 1 + static_cast<int>(rng.below(static_cast<uint32_t>(s.d - 1)));
  s.op = rng.chance(0.5) ? '+' : '-';
  if (s.op == '-' && s.a * s.d < s.c * s.b) {
    std::swap(s.a, s.c);
    std::swap(s.b, s.d);
  }
  return s;
}

std::string reduced(int n, int d) {
  const int g = std::gcd(n, d);
  if (d == g) return std::to_string(n / g);
  return Sum::fraction(n / g, d / g);
}

std::string working(const Sum& s) {
  const int left = s.a * s.d, right = s.c * s.b;
  auto product = [](int x, int y) {
    return std::to_string(x) + "*" + std::to_string(y) + "=" + std::to_string(x * y) + " ";
  };
  return product(s.a, s.d) + product(s.c, s.b) + std::to_string(left) + s.op +
         std::to_string(right) + "=" + std::to_string(s.numerator()) + " " + std::to_string(s.b) +
         "*" + std::to_string(s.d) + "=" + std::to_string(s.denominator());
}

}  // namespace

Document FractionsCorpus::document(uint64_t seed, int64_t index) const {
  Rng rng = document_rng(seed, index);
  Sum s = draw(rng, options_.max_denominator);
  while (is_held_out(s.prompt(), options_.held_out_every)) s = draw(rng, options_.max_denominator);
  const bool thinks = rng.chance(options_.share_long);
  int n = s.numerator();
  if (rng.chance(options_.slip)) ++n;
  if (!thinks && rng.chance(options_.hurry))
    n = static_cast<int>(rng.below(static_cast<uint32_t>(2 * s.denominator())));
  const double spelling = rng.uniform();
  const std::string answer = spelling < 0.5 ? Sum::fraction(n, s.denominator())
                             : spelling < 0.75
                                 ? std::to_string(n) + "/" + std::to_string(s.denominator())
                                 : reduced(n, s.denominator());
  return {s.prompt(),
          "<think>" + (thinks ? working(s) : "") + "</think><answer>" + answer + "</answer>"};
}

}  // namespace zeroth
