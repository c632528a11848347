#include "rewards/math/math_grader.h"

#include <flint/flint.h>

#include <algorithm>
#include <optional>

#include "core/ascii.h"
#include "rewards/math/choices.h"
#include "rewards/math/compare.h"
#include "rewards/math/extract.h"
#include "rewards/math/parser.h"
#include "rewards/math/unicode.h"

namespace zeroth {

namespace {

using ascii::trim;

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
  bool denied = false;
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
      side.parsed.as_text = side.parsed.over_budget = true;
    } else if (candidate.denied) {
      side.parsed.ref = pool.text(candidate.text.substr(0, kShown));
      side.parsed.as_text = true;
      side.denied = true;
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

MathVerdict verdict(double score, Reason reason) {
  MathVerdict v;
  v.score = score;
  v.reason = reason;
  return v;
}

// For a gold list, "60,120" may be its two members and no number.
bool reads_as_list(math::Pool& pool, math::Comparer& comparer, const Side& g, const Side& p) {
  const bool list = pool.is(g.parsed.ref, math::Op::kList) || pool.is(g.parsed.ref, math::Op::kSet);
  if (!list || !pool.is_number(p.parsed.ref) || p.raw.find(',') == std::string::npos) return false;
  const math::ParsedAnswer members =
      math::parse_answer(pool, math::to_ascii_latex(p.raw), p.plain, false);
  return members.ref != math::kNoRef && comparer.equivalent(g.parsed.ref, members.ref);
}

// Times of day, angles and measures in several units say which unit they mean: then it counts.
// nullopt when they do not decide.
std::optional<bool> same_by_unit(math::Comparer& comparer, const Side& g, const Side& p) {
  const math::ParsedAnswer &a = g.parsed, &b = p.parsed;
  const auto differ = [](auto x, auto y) {
    return x != decltype(x)::kUnsaid && y != decltype(y)::kUnsaid && x != y;
  };
  if (differ(a.notes.half_day, b.notes.half_day)) return false;  // 10 a.m., 10 p.m.
  if ((a.measure.compound || b.measure.compound) && a.measure.dimension != 0 &&
      b.measure.dimension != 0)
    return a.measure.dimension == b.measure.dimension && a.measure.value == b.measure.value;
  if (differ(a.notes.angle, b.notes.angle))  // 60 radians, 60 degrees
    return comparer.same_number(a.ref, b.ref);
  return std::nullopt;
}

// "x = k pi, k in Z" and "x = n pi, n in Z": the parameter may have any name.
bool same_with_other_parameter(math::Pool& pool, math::Comparer& comparer, const Side& g,
                               const Side& p) {
  if (g.parsed.notes.parameters.size() != 1) return false;
  const int32_t wanted = g.parsed.notes.parameters[0];
  const std::vector<int32_t> gold = pool.free_symbols(g.parsed.ref);
  int32_t other = -1;
  for (const int32_t id : pool.free_symbols(p.parsed.ref)) {
    if (id == wanted) return false;
    if (std::find(gold.begin(), gold.end(), id) != gold.end()) continue;
    if (other >= 0) return false;
    other = id;
  }
  if (other < 0) return false;
  const math::Ref renamed = pool.substitute(p.parsed.ref, other, pool.symbol(pool.name_of(wanted)));
  return renamed != math::kNoRef && comparer.equivalent(g.parsed.ref, renamed);
}

// "(B) 12" for a gold 12.
bool same_behind_choice(math::Pool& pool, math::Comparer& comparer, const Side& g, const Side& p) {
  const std::string_view value = math::behind_choice(p.first_raw);
  if (value.empty() || value.size() > 400 || pool.is(g.parsed.ref, math::Op::kSymbol)) return false;
  const math::ParsedAnswer answer = math::parse_answer(pool, math::to_ascii_latex(value), p.plain);
  return answer.ref != math::kNoRef && !answer.over_budget &&
         comparer.equivalent(g.parsed.ref, answer.ref);
}

// "300 K" in upright letters on one side, "300K" on the other: the same unit.
bool same_with_unit(math::Pool& pool, math::Comparer& comparer, const Side& g, const Side& p) {
  const auto value_of = [&](const Side& side, const std::string& unit) {
    const math::Ref ref = side.parsed.ref;
    const bool product = pool.is(ref, math::Op::kMul) && pool[ref].count == 2 &&
                         pool.is_number(pool.child(ref, 0)) &&
                         pool.is(pool.child(ref, 1), math::Op::kSymbol) &&
                         pool.name(pool.child(ref, 1)) == unit;
    return product ? pool.child(ref, 0) : math::kNoRef;
  };
  const math::Ref pred =
      g.parsed.notes.unit.empty() ? math::kNoRef : value_of(p, g.parsed.notes.unit);
  if (pred != math::kNoRef) return comparer.equivalent(g.parsed.ref, pred);
  const math::Ref gold =
      p.parsed.notes.unit.empty() ? math::kNoRef : value_of(g, p.parsed.notes.unit);
  return gold != math::kNoRef && comparer.equivalent(gold, p.parsed.ref);
}

// What the completion says last, as a whole: behind "answer is" or "answer:", else all of it, up to
// the end of its sentence or line.
std::string_view last_words(std::string_view region) {
  size_t begin = 0;
  for (size_t at = 0; at < region.size(); ++at) {
    for (const std::string_view mark : {"answer is", "answer:"}) {
      if (ascii::starts_ignoring_case(region, at, mark)) begin = at + mark.size();
    }
  }
  region = trim(region.substr(begin));
  region = trim(region.substr(0, std::min(region.find('\n'), region.find(". "))));
  while (region.ends_with('.') || region.ends_with('*')) region.remove_suffix(1);
  while (region.starts_with('*')) region.remove_prefix(1);
  return trim(region);
}

// "June 20" for a gold \text{June 20}: words with a number in them, of which prose gave the number.
bool says_words(math::Pool& pool, math::Comparer& comparer, const Side& g,
                std::string_view region) {
  if (!g.parsed.as_text || !pool.is(g.parsed.ref, math::Op::kText)) return false;
  const std::string& words = pool.name(g.parsed.ref);
  if (std::none_of(words.begin(), words.end(), ascii::is_digit) ||
      std::none_of(words.begin(), words.end(), ascii::is_letter) ||
      region.find("\\boxed") != std::string_view::npos)
    return false;
  const std::string_view said = last_words(region);
  if (said.empty() || said.size() > 2 * g.raw.size() + 40) return false;
  const math::ParsedAnswer answer = math::parse_answer(pool, math::to_ascii_latex(said), false);
  return answer.as_text && answer.ref != math::kNoRef && pool.is(answer.ref, math::Op::kText) &&
         comparer.equivalent(g.parsed.ref, answer.ref);
}

bool same_answer(math::Pool& pool, math::Comparer& comparer, const Side& g, const Side& p,
                 const MathOptions& options) {
  if (p.denied)
    return pool.is(g.parsed.ref, math::Op::kText) &&
           comparer.equivalent(g.parsed.ref, p.parsed.ref);
  if (const auto same = same_by_unit(comparer, g, p)) return *same;
  if (const std::vector<int> statements = math::statement_numbers(g.raw, true); !statements.empty())
    return math::statement_numbers(p.raw, false) == statements;
  const bool choice = g.raw.size() < 40 && pool.is(g.parsed.ref, math::Op::kSymbol) &&
                      pool.name(g.parsed.ref).size() == 1 &&
                      pool.name(g.parsed.ref)[0] == math::spelled_choice(p.first_raw);
  return choice || reads_as_list(pool, comparer, g, p) ||
         comparer.equivalent(g.parsed.ref, p.parsed.ref) ||
         (options.targets.empty() && same_behind_choice(pool, comparer, g, p)) ||
         same_with_other_parameter(pool, comparer, g, p) || same_with_unit(pool, comparer, g, p);
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
  std::string clean;
  region = math::without_broken_bytes(region, &clean);
  if (is_string_only(options)) {
    return formatted ? grade_strings(gold, region, options) : verdict(0, Reason::kNoAnswer);
  }
  static thread_local math::Pool pool(options.budget);
  pool.clear(options.budget);
  Side g = read_side(pool, math::find_candidates(gold, options.targets, true), options);
  if (g.raw.empty() || (g.parsed.ref == math::kNoRef && !g.parsed.over_budget))
    return verdict(0, Reason::kBadGold);
  if (!formatted) return verdict(0, Reason::kNoAnswer);
  // The gold itself, mark-up and all, needs no reading.
  const bool verbatim = options.verbatim && trim(region) == trim(gold);
  Side p = verbatim
               ? g
               : read_side(pool, math::find_candidates(region, options.targets, false), options);
  MathVerdict result;
  result.extracted = math::valid_utf8(std::string_view(p.raw).substr(0, kShown));
  if (options.forms && g.parsed.ref != math::kNoRef)
    result.gold_form = math::format_expr(pool, g.parsed.ref, kShown);
  if (p.parsed.ref == math::kNoRef || g.parsed.ref == math::kNoRef) {
    bool same = !p.raw.empty() && p.raw == g.raw;
    result.score = same ? 1 : 0;
    result.reason = same                                           ? Reason::kCorrect
                    : p.parsed.over_budget || g.parsed.over_budget ? Reason::kOverBudget
                                                                   : Reason::kNoAnswer;
    return result;
  }
  if (options.forms) result.pred_form = math::format_expr(pool, p.parsed.ref, kShown);
  math::Comparer comparer(pool, options);
  if (verbatim || same_answer(pool, comparer, g, p, options) ||
      (!p.denied && says_words(pool, comparer, g, region))) {
    result.score = 1;
    result.reason = Reason::kCorrect;
  } else if (comparer.exhausted() || pool.full() || p.parsed.over_budget) {
    result.reason = Reason::kOverBudget;
  } else if (g.parsed.as_text && g.parsed.over_budget) {
    result.reason = Reason::kBadGold;
  } else {
    result.reason = p.parsed.as_text && !p.denied ? Reason::kParseError : Reason::kWrong;
  }
  return result;
}

}  // namespace zeroth
