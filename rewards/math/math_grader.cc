#include "rewards/math/math_grader.h"

#include <flint/flint.h>

#include <algorithm>

#include "rewards/math/compare.h"
#include "rewards/math/extract.h"
#include "rewards/math/lexer_words.h"
#include "rewards/math/parser.h"
#include "rewards/math/unicode.h"

namespace zeroth {

namespace {

constexpr size_t kShown = 4096;  // bytes of extracted text and normal forms

// FLINT and Arb keep caches per thread, which they release only when told.
struct FlintThread {
  ~FlintThread() { flint_cleanup(); }
};

struct Side {
  math::ParsedAnswer parsed;
  std::string raw;
  std::string first_raw;  // of the candidate that came first
  bool plain = false;
};

// A list of words and of mathematics.
bool mixes_words(const math::Pool& pool, math::Ref ref) {
  if (ref == math::kNoRef || !pool.is(ref, math::Op::kList)) return false;
  int texts = 0;
  for (math::Ref kid : pool.children(ref)) texts += pool.is(kid, math::Op::kText);
  return texts > 0 && texts < pool[ref].count;
}

// The first candidate that parses as mathematics, else the first at all.
Side read_side(math::Pool& pool, const std::vector<math::Candidate>& candidates,
               const MathOptions& options) {
  Side first;
  for (const math::Candidate& candidate : candidates) {
    Side side;
    side.raw = candidate.text;
    if (candidate.text.size() > 4 * static_cast<size_t>(options.budget.answer_bytes)) {
      side.parsed = {math::kNoRef, true, true};
    } else {
      side.parsed = math::parse_answer(pool, math::to_ascii_latex(candidate.text), candidate.plain);
    }
    const bool mixed = candidate.prose && mixes_words(pool, side.parsed.ref);
    side.plain = candidate.plain;
    side.first_raw = candidates.front().text;
    if (side.parsed.ref != math::kNoRef && !side.parsed.as_text && !mixed) return side;
    if (first.raw.empty()) first = std::move(side);
  }
  return first;
}

std::string_view trimmed(std::string_view text) {
  const char* blanks = " \n\t\r";
  size_t begin = text.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

MathVerdict verdict(double score, Reason reason) {
  MathVerdict v;
  v.score = score;
  v.reason = reason;
  return v;
}

bool is_capital(char c) { return c >= 'A' && c <= 'Z'; }

// The letter of a choice that is written out with its text: "(B) 42", "B. 42", "\\textbf{(B)} 42";
// 0 when there is none, or when a second choice follows.
char spelled_choice(std::string_view raw) {
  std::string text;
  for (size_t i = 0; i < raw.size() && text.size() < 400; ++i) {
    if (raw[i] == '\\') {  // commands of fonts and spacing
      const size_t begin = i + 1;
      while (i + 1 < raw.size() && ((raw[i + 1] | 32) >= 'a' && (raw[i + 1] | 32) <= 'z')) ++i;
      const std::string_view name = raw.substr(begin, i + 1 - begin);
      const bool blank = text.find_first_not_of(' ') == std::string::npos;
      if (blank && !name.empty() && !math::is_text_command(name) && !math::is_font_command(name))
        return 0;
      if (name.empty() && begin < raw.size() && raw[begin] == '{') return 0;  // a set
      text += ' ';
    } else if (raw[i] != '{' && raw[i] != '}' && raw[i] != '$' && raw[i] != '*') {
      text += raw[i];
    }
  }
  auto marked = [&](size_t i) {  // "(B)", or "B" at the rim of a word with a mark behind it
    if (i >= text.size() || !is_capital(text[i])) return false;
    bool closed =
        i + 1 < text.size() && (text[i + 1] == ')' || text[i + 1] == '.' || text[i + 1] == ':');
    bool opened = i == 0 || text[i - 1] == ' ' || text[i - 1] == '(';
    return closed && opened;
  };
  size_t first = text.find_first_not_of(' ');
  if (first == std::string::npos) return 0;
  if (text[first] == '(') ++first;
  if (!marked(first)) return 0;
  // "(A)+1" is an expression, "(A) or .." two choices.
  size_t next = text.find_first_not_of(' ', first + 2);
  if (next != std::string::npos) {
    if (std::string_view("+-*/^=<>!,_").find(text[next]) != std::string_view::npos) return 0;
    for (std::string_view word : {"or ", "and "}) {
      if (std::string_view(text).substr(next).starts_with(word)) return 0;
    }
  }
  for (size_t i = first + 1; i < text.size(); ++i) {
    if (marked(i)) return 0;
  }
  for (std::string_view word : {" or ", " and ", ", "}) {
    size_t at = text.find(word);
    if (at != std::string::npos && at + word.size() + 1 == text.size() && is_capital(text.back()))
      return 0;
  }
  return text[first];
}

// For a gold list, "60,120" may be its two members and no number.
bool reads_as_list(math::Pool& pool, math::Comparer& comparer, const Side& g, const Side& p) {
  const bool list = pool.is(g.parsed.ref, math::Op::kList) || pool.is(g.parsed.ref, math::Op::kSet);
  if (!list || !pool.is_number(p.parsed.ref) || p.raw.find(',') == std::string::npos) return false;
  const math::ParsedAnswer members =
      math::parse_answer(pool, math::to_ascii_latex(p.raw), p.plain, false);
  return members.ref != math::kNoRef && comparer.equivalent(g.parsed.ref, members.ref);
}

bool is_string_only(const MathOptions& options) {
  return !options.targets.empty() &&
         std::all_of(options.targets.begin(), options.targets.end(),
                     [](const MathTarget& t) { return t.kind == MathTarget::Kind::kString; });
}

MathVerdict grade_strings(std::string_view gold, std::string_view region,
                          const MathOptions& options) {
  std::string wanted = math::find_string(gold, options.targets[0].strings);
  if (wanted.empty()) return verdict(0, Reason::kBadGold);
  std::string found = math::find_string(region, options.targets[0].strings);
  if (found.empty()) return verdict(0, Reason::kNoAnswer);
  MathVerdict v = wanted == found ? verdict(1, Reason::kCorrect) : verdict(0, Reason::kWrong);
  v.extracted = v.pred_form = found;
  v.gold_form = wanted;
  return v;
}

}  // namespace

MathVerdict grade_math(std::string_view gold, std::string_view completion,
                       const MathOptions& options) {
  [[maybe_unused]] static thread_local const FlintThread flint_thread;
  std::string_view region;
  bool formatted = math::answer_region(completion, options.format, &region);
  if (is_string_only(options)) {
    return formatted ? grade_strings(gold, region, options) : verdict(0, Reason::kNoAnswer);
  }
  math::Pool pool(options.budget);
  Side g = read_side(pool, math::find_candidates(gold, options.targets, true), options);
  if (g.raw.empty() || (g.parsed.ref == math::kNoRef && !g.parsed.over_budget))
    return verdict(0, Reason::kBadGold);
  if (!formatted) return verdict(0, Reason::kNoAnswer);
  // The gold itself, mark-up and all, needs no reading.
  const bool verbatim = trimmed(region) == trimmed(gold);
  Side p = verbatim
               ? g
               : read_side(pool, math::find_candidates(region, options.targets, false), options);
  MathVerdict result;
  result.extracted = math::valid_utf8(std::string_view(p.raw).substr(0, kShown));
  if (g.parsed.ref != math::kNoRef)
    result.gold_form = math::format_expr(pool, g.parsed.ref, kShown);
  if (p.parsed.ref == math::kNoRef || g.parsed.ref == math::kNoRef) {
    bool same = !p.raw.empty() && p.raw == g.raw;
    result.score = same ? 1 : 0;
    result.reason = same                                           ? Reason::kCorrect
                    : p.parsed.over_budget || g.parsed.over_budget ? Reason::kOverBudget
                                                                   : Reason::kNoAnswer;
    return result;
  }
  result.pred_form = math::format_expr(pool, p.parsed.ref, kShown);
  const bool other_half =
      g.parsed.half_day != 0 && p.parsed.half_day != 0 && g.parsed.half_day != p.parsed.half_day;
  if (other_half) {  // 10 a.m. is not 10 p.m.
    result.reason = Reason::kWrong;
    return result;
  }
  math::Comparer comparer(pool, options);
  bool choice = g.raw.size() < 40 && pool.is(g.parsed.ref, math::Op::kSymbol) &&
                pool.name(g.parsed.ref).size() == 1 &&
                pool.name(g.parsed.ref)[0] == spelled_choice(p.first_raw);
  if (choice || reads_as_list(pool, comparer, g, p) ||
      comparer.equivalent(g.parsed.ref, p.parsed.ref)) {
    result.score = 1;
    result.reason = Reason::kCorrect;
  } else if (comparer.exhausted() || pool.full() || p.parsed.over_budget) {
    result.reason = Reason::kOverBudget;
  } else if (g.parsed.as_text && g.parsed.over_budget) {
    result.reason = Reason::kBadGold;
  } else {
    result.reason = p.parsed.as_text ? Reason::kParseError : Reason::kWrong;
  }
  return result;
}

}  // namespace zeroth
