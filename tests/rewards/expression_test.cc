#include "rewards/expression.h"

#include <doctest/doctest.h>

#include <map>
#include <numeric>

#include "core/json_lines.h"
#include "core/rng.h"

using namespace zeroth;

namespace {

// A second, independent opinion: builds a random expression as a tree and evaluates the tree in
// plain fractions.
struct Fraction {
  long long n = 0, d = 1;
  bool ok = true;
};

Fraction join(char op, Fraction a, Fraction b) {
  Fraction r;
  r.ok = a.ok && b.ok && !(op == '/' && b.n == 0);
  if (!r.ok) return r;
  if (op == '+') r = {a.n * b.d + b.n * a.d, a.d * b.d, true};
  if (op == '-') r = {a.n * b.d - b.n * a.d, a.d * b.d, true};
  if (op == '*') r = {a.n * b.n, a.d * b.d, true};
  if (op == '/') r = {a.n * b.d, a.d * b.n, true};
  const long long g = std::gcd(r.n, r.d) * (r.d < 0 ? -1 : 1);
  return {r.n / g, r.d / g, true};
}

// Text and value of a random tree; `rank` is the binding strength that the context needs without
// parentheses.
struct Built {
  std::string text;
  Fraction value;
  std::vector<int64_t> numbers;
};

Built build(Rng& rng, int depth, int rank) {
  if (depth == 0 || rng.chance(0.25)) {
    const int n = static_cast<int>(rng.below(20));
    return {std::to_string(n), {n, 1, true}, {n}};
  }
  const char op = "+-*/"[rng.below(4)];
  const int own = op == '*' || op == '/' ? 2 : 1;
  Built left = build(rng, depth - 1, own), right = build(rng, depth - 1, own + 1);
  Built out;
  const std::string blank = rng.chance(0.3) ? " " : "";
  out.text = left.text + blank + op + blank + right.text;
  if (own < rank || rng.chance(0.1)) out.text = "(" + out.text + ")";
  out.value = join(op, left.value, right.value);
  out.numbers = left.numbers;
  out.numbers.insert(out.numbers.end(), right.numbers.begin(), right.numbers.end());
  return out;
}

}  // namespace

TEST_CASE("random expressions agree with a tree evaluator") {
  int evaluated = 0;
  for (uint32_t i = 0; i < 20000; ++i) {
    Rng rng(11, i);
    const Built b = build(rng, 3, 1);
    const Expression e = evaluate_expression(b.text);
    CAPTURE(b.text);
    CHECK(e.numbers.size() <= b.numbers.size());
    if (!b.value.ok) {
      CHECK(e.reason == Reason::kIllegal);
      continue;
    }
    REQUIRE(e.ok());
    CHECK(e.numbers == b.numbers);
    CHECK(e.value.numerator == b.value.n);
    CHECK(e.value.denominator == b.value.d);
    ++evaluated;
  }
  CHECK(evaluated > 10000);
}

TEST_CASE("random edits of expressions never crash and never invent numbers") {
  const std::string alphabet = "0123456789+-*/() .x=^\n";
  for (uint32_t i = 0; i < 20000; ++i) {
    Rng rng(12, i);
    std::string text = build(rng, 3, 1).text;
    for (int k = 0; k < 3; ++k) {
      const auto at = rng.below(static_cast<uint32_t>(text.size()));
      text[at] = alphabet[rng.below(static_cast<uint32_t>(alphabet.size()))];
    }
    const Expression e = evaluate_expression(text);
    CHECK(e.reason != Reason::kNone);
    CHECK(e.ok() == e.error.empty());
    for (const char c : text) {
      if (std::string_view(".x=^").find(c) != std::string_view::npos) CHECK(!e.ok());
    }
  }
}

TEST_CASE("limits hold at their edge") {
  CHECK(evaluate_expression(std::string(64, '(') + "1" + std::string(64, ')')).ok());
  CHECK(evaluate_expression(std::string(65, '(') + "1" + std::string(65, ')')).reason ==
        Reason::kOverBudget);
  CHECK(evaluate_expression(std::string(1000000, '(')).reason == Reason::kOverBudget);
  CHECK(evaluate_expression("999999999999999").ok());
  CHECK(evaluate_expression("1000000000000000").reason == Reason::kOverBudget);
  std::string many = "1";
  for (int i = 1; i < 128; ++i) many += "+1";
  CHECK(evaluate_expression(many).ok());
  CHECK(evaluate_expression(many + "+1").reason == Reason::kOverBudget);
  // 2^60 is inside, 2^61 outside.
  CHECK(evaluate_expression("1073741824*1073741824").ok());
  CHECK(evaluate_expression("1073741824*1073741824*2").reason == Reason::kOverBudget);
  CHECK(evaluate_expression("1/1073741824/1073741824/2").reason == Reason::kOverBudget);
}

TEST_CASE("countdown answers: the table of legal and hostile ones") {
  int rows = 0;
  for_each_json_line("tests/data/countdown_answers.jsonl", [&](const Json& row, int64_t line) {
    CAPTURE(line);
    const auto nums = row["nums"].get<std::vector<int64_t>>();
    const Verdict v =
        check_countdown(row["answer"].get<std::string>(), nums, row["target"].get<int64_t>());
    CHECK(std::string(to_string(v.reason)) == row["reason"].get<std::string>());
    CHECK(v.score == (row["reason"] == "correct" ? 1 : 0));
    ++rows;
  });
  CHECK(rows >= 50);
}

TEST_CASE("errors say where") {
  CHECK(evaluate_expression("3+x").error ==
        "a character that is no digit, operator or parenthesis at byte 2");
  CHECK(to_string(Rational{-7, 2}) == "-7/2");
  CHECK(to_string(Rational{24, 1}) == "24");
}
