#include "tasks/builtin/countdown_trace.h"

#include <algorithm>
#include <set>

#include "core/ascii.h"
#include "rewards/format.h"

namespace zeroth {
namespace {

using ascii::is_digit;
using ascii::lower;
bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Position of `word` (lower case) as a whole word at or after `from`; npos when there is none.
// Digits may touch it on the left ("24no").
size_t find_word(std::string_view text, std::string_view word, size_t from) {
  for (size_t at = from; at + word.size() <= text.size(); ++at) {
    size_t same = 0;
    while (same < word.size() && lower(text[at + same]) == word[same]) ++same;
    if (same < word.size()) continue;
    const bool left = at == 0 || !is_word(text[at - 1]) || is_digit(text[at - 1]);
    const bool right = at + same == text.size() || !is_word(text[at + same]);
    if (left && right) return at;
  }
  return std::string_view::npos;
}

// A number in play while a try is read: a given number or the result of an earlier operation of it.
struct Operand {
  int64_t shown;      // what later operations call it
  std::string text;   // as a formula over the given numbers
  std::string canon;  // the same with sums and products in sorted order
  bool composite;
  std::optional<Rational> value;
};

// Joins the operands of one flat formula. The formula's own integers are replaced, left to right,
// by operands of the pool that show that number; nullopt when one is missing.
std::optional<Operand> take_formula(std::string_view formula, const Expression& parsed,
                                    std::vector<Operand>& pool) {
  Operand joined{0, "", "", true, std::nullopt};
  std::vector<Operand> used;
  for (size_t at = 0; at < formula.size();) {
    if (!is_digit(formula[at])) {
      if (formula[at] != ' ' && formula[at] != '\t') joined.text += formula[at];
      ++at;
      continue;
    }
    int64_t number = 0;
    while (at < formula.size() && is_digit(formula[at]))
      number = number * 10 + (formula[at++] - '0');
    const auto it =
        std::find_if(pool.begin(), pool.end(), [&](const Operand& o) { return o.shown == number; });
    if (it == pool.end()) return std::nullopt;
    joined.text += it->composite ? "(" + it->text + ")" : it->text;
    used.push_back(std::move(*it));
    pool.erase(it);
  }
  const Expression whole = evaluate_expression(joined.text);
  if (whole.ok()) joined.value = whole.value;
  // A plain "a op b" gets an order-free name; longer formulas are named by their text.
  const size_t op = formula.find_first_of("+-*/");
  if (used.size() == 2 && parsed.numbers.size() == 2 && op != std::string_view::npos) {
    std::string left = used[0].canon, right = used[1].canon;
    if ((formula[op] == '+' || formula[op] == '*') && right < left) std::swap(left, right);
    joined.canon = "(" + left + formula[op] + right + ")";
  } else {
    joined.canon = joined.text;
  }
  return joined;
}

// Reads one stated integer after '='; -1 ends an unreadable one.
std::optional<int64_t> read_integer(std::string_view text, size_t* at) {
  size_t i = *at;
  while (i < text.size() && text[i] == ' ') ++i;
  const bool negative =
      i < text.size() && text[i] == '-' && i + 1 < text.size() && is_digit(text[i + 1]);
  if (negative) ++i;
  const size_t first = i;
  int64_t value = 0;
  while (i < text.size() && is_digit(text[i]) && i - first < 15)
    value = value * 10 + (text[i++] - '0');
  if (i == first || (i < text.size() && is_digit(text[i]))) return std::nullopt;
  *at = i;
  return negative ? -value : value;
}

// What stands left of '=' since the last stated result, without joining words and punctuation.
std::string_view formula_before(std::string_view text, size_t from, size_t equals) {
  std::string_view part = text.substr(from, equals - from);
  size_t begin = part.size();
  while (begin > 0 &&
         (is_digit(part[begin - 1]) ||
          std::string_view("+-*/() \t").find(part[begin - 1]) != std::string_view::npos)) {
    --begin;
  }
  return trim(part.substr(begin));
}

TraceTry parse_try(std::string_view text, std::span<const int64_t> numbers, std::string* canon) {
  TraceTry result;
  const size_t arrow = text.find("->");
  const std::string_view work = text.substr(0, arrow);
  const size_t ok = find_word(text, "ok", 0), no = find_word(text, "no", 0);
  if (ok != no) result.verdict = std::min(ok, no) == ok ? TryVerdict::kOk : TryVerdict::kNo;

  std::vector<Operand> pool;
  for (const int64_t number : numbers) {
    const std::string name = std::to_string(number);
    pool.push_back({number, name, name, false, Rational{number, 1}});
  }
  bool legal = true;
  size_t from = 0;
  for (size_t equals = work.find('='); equals != std::string_view::npos;
       equals = work.find('=', from)) {
    const std::string_view formula = formula_before(work, from, equals);
    from = equals + 1;
    const std::optional<int64_t> claimed = read_integer(work, &from);
    const Expression parsed = evaluate_expression(formula);
    ++result.steps;
    if (!claimed || !parsed.ok()) {
      legal = false;
      continue;
    }
    result.claimed = claimed;
    if (parsed.value == Rational{*claimed, 1}) ++result.steps_right;
    if (!legal) continue;
    std::optional<Operand> joined = take_formula(formula, parsed, pool);
    if (!joined) {
      legal = false;
      continue;
    }
    joined->shown = *claimed;
    // The newest result goes first, so that it, not an equal given number, is what the next
    // operation means.
    pool.insert(pool.begin(), std::move(*joined));
  }
  result.legal = legal && result.steps > 0 && pool.size() == 1;
  if (result.legal) {
    result.expression = pool[0].text;
    result.value = pool[0].value;
    *canon = pool[0].canon;
  } else {
    *canon = std::string(trim(work));
  }
  return result;
}

}  // namespace

CountdownTrace parse_countdown_trace(std::string_view think, std::span<const int64_t> numbers) {
  CountdownTrace trace;
  std::set<std::string> seen;
  bool after_wait = false;
  size_t wait = find_word(think, "wait", 0);
  for (size_t at = 0; at <= think.size();) {
    const size_t line = std::min(think.find('\n', at), think.size());
    const bool by_wait = wait < line;
    const size_t end = by_wait ? wait : line;
    const std::string_view segment = think.substr(at, end - at);
    // Words without any number or sign are talk, not a try.
    if (segment.find_first_of("0123456789=") != std::string_view::npos &&
        static_cast<int>(trace.tries.size()) < CountdownTrace::kMaxTries) {
      std::string canon;
      TraceTry parsed = parse_try(segment, numbers, &canon);
      parsed.begin = at;
      parsed.end = end;
      parsed.after_wait = after_wait;
      parsed.duplicate = !seen.insert(canon).second;
      trace.tries.push_back(std::move(parsed));
      after_wait = false;
    }
    if (by_wait) {
      ++trace.waits;
      after_wait = true;
      at = wait + 4;
      wait = find_word(think, "wait", at);
    } else {
      at = line + 1;
    }
  }
  return trace;
}

Json countdown_facts(const CountdownTrace& trace, int64_t target, bool answer_right) {
  int duplicates = 0, illegal = 0, steps = 0, steps_right = 0, verdicts = 0, verdicts_right = 0;
  bool judged_wrong = false, turned = false;
  for (const TraceTry& t : trace.tries) {
    duplicates += t.duplicate;
    illegal += !t.legal;
    steps += t.steps;
    steps_right += t.steps_right;
    if (t.verdict != TryVerdict::kMissing) {
      ++verdicts;
      verdicts_right += (t.verdict == TryVerdict::kOk) == t.claims(target);
    }
    if (t.hits(target)) {
      turned = turned || judged_wrong;
    } else if (t.verdict == TryVerdict::kNo) {
      judged_wrong = true;
    }
  }
  return Json{{"tries", trace.tries.size()},
              {"duplicate_tries", duplicates},
              {"illegal_tries", illegal},
              {"steps", steps},
              {"steps_right", steps_right},
              {"verdicts", verdicts},
              {"verdicts_right", verdicts_right},
              {"wait", trace.waits},
              {"right_after_wrong_try", answer_right && turned ? 1 : 0}};
}

}  // namespace zeroth
