#include "rewards/process.h"

#include <algorithm>

#include "rewards/expression.h"

namespace zeroth {
namespace {

constexpr size_t kFormulaBytes = 256;  // longer left sides are not looked at

bool formula_byte(char c) {
  return (c >= '0' && c <= '9') || std::string_view("+-*/() \t").find(c) != std::string_view::npos;
}

// Reads "[blanks][-]digits" at `at`; false when there is none of up to 15 digits, or it goes on as
// a decimal.
bool read_integer(std::string_view text, size_t at, int64_t* value, size_t* end) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t')) ++at;
  const bool negative = at < text.size() && text[at] == '-';
  if (negative) ++at;
  const size_t first = at;
  int64_t number = 0;
  while (at < text.size() && text[at] >= '0' && text[at] <= '9' && at - first < 15)
    number = number * 10 + (text[at++] - '0');
  if (at == first) return false;
  const bool goes_on =
      at < text.size() &&
      ((text[at] >= '0' && text[at] <= '9') ||
       (text[at] == '.' && at + 1 < text.size() && text[at + 1] >= '0' && text[at + 1] <= '9'));
  *value = negative ? -number : number;
  *end = at;
  return !goes_on;
}

}  // namespace

std::vector<Equation> find_equations(std::string_view text) {
  std::vector<Equation> found;
  size_t from = 0;  // end of what an earlier equation used
  for (size_t equals = text.find('='); equals != std::string_view::npos;
       equals = text.find('=', equals + 1)) {
    size_t begin = equals;
    while (begin > from && equals - begin < kFormulaBytes && formula_byte(text[begin - 1])) --begin;
    std::string_view formula = text.substr(begin, equals - begin);
    while (!formula.empty() && (formula.front() == ' ' || formula.front() == '\t'))
      formula.remove_prefix(1);
    int64_t stated = 0;
    size_t end = 0;
    const Expression left = evaluate_expression(formula);
    if (!left.ok() || left.numbers.size() < 2 || !read_integer(text, equals + 1, &stated, &end))
      continue;
    found.push_back({end, left.value == Rational{stated, 1}});
    from = end;
  }
  return found;
}

EquationCount count_equations(std::string_view text) {
  EquationCount count;
  for (const Equation& equation : find_equations(text)) {
    ++count.stated;
    count.right += equation.right;
  }
  return count;
}

Verdict check_process(std::string_view text, int min_steps) {
  const EquationCount count = count_equations(text);
  Verdict verdict;
  verdict.name = "process";
  verdict.info = {{"steps", count.stated}, {"steps_right", count.right}};
  const int needed = std::max({count.stated, min_steps, 1});
  verdict.score = static_cast<double>(count.right) / needed;
  verdict.reason = count.stated == 0 ? Reason::kNoAnswer : Reason::kShaped;
  return verdict;
}

}  // namespace zeroth
