#include "rewards/math/math_grader.h"

#include <algorithm>

#include "rewards/math/compare.h"
#include "rewards/math/extract.h"
#include "rewards/math/parser.h"
#include "rewards/math/unicode.h"

namespace zeroth {

namespace {

constexpr size_t kShown = 4096;  // bytes of extracted text and normal forms

struct Side {
  math::ParsedAnswer parsed;
  std::string raw;
};

// The first candidate that parses as mathematics, else the first at all.
Side read_side(math::Pool& pool, const std::vector<math::Candidate>& candidates, const MathOptions& options) {
  Side first;
  for (const math::Candidate& candidate : candidates) {
    Side side;
    side.raw = candidate.text;
    if (candidate.text.size() > 4 * static_cast<size_t>(options.budget.answer_bytes)) {
      side.parsed = {math::kNoRef, true, true};
    } else {
      side.parsed = math::parse_answer(pool, math::to_ascii_latex(candidate.text), candidate.plain);
    }
    if (side.parsed.ref != math::kNoRef && !side.parsed.as_text) return side;
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

bool is_string_only(const MathOptions& options) {
  return !options.targets.empty() &&
         std::all_of(options.targets.begin(), options.targets.end(),
                     [](const MathTarget& t) { return t.kind == MathTarget::Kind::kString; });
}

MathVerdict grade_strings(std::string_view gold, std::string_view region, const MathOptions& options) {
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

MathVerdict grade_math(std::string_view gold, std::string_view completion, const MathOptions& options) {
  std::string_view region;
  bool formatted = math::answer_region(completion, options.format, &region);
  if (is_string_only(options)) {
    return formatted ? grade_strings(gold, region, options) : verdict(0, Reason::kNoAnswer);
  }
  math::Pool pool(options.budget);
  Side g = read_side(pool, math::find_candidates(gold, options.targets, true), options);
  if (g.raw.empty() || (g.parsed.ref == math::kNoRef && !g.parsed.over_budget)) return verdict(0, Reason::kBadGold);
  if (!formatted) return verdict(0, Reason::kNoAnswer);
  Side p = read_side(pool, math::find_candidates(region, options.targets, false), options);
  MathVerdict result;
  result.extracted = math::valid_utf8(std::string_view(p.raw).substr(0, kShown));
  if (g.parsed.ref != math::kNoRef) result.gold_form = math::format_expr(pool, g.parsed.ref, kShown);
  if (p.parsed.ref == math::kNoRef || g.parsed.ref == math::kNoRef) {
    bool same = !p.raw.empty() && p.raw == g.raw;
    result.score = same ? 1 : 0;
    result.reason = same ? Reason::kCorrect
                    : p.parsed.over_budget || g.parsed.over_budget ? Reason::kOverBudget
                                                                   : Reason::kNoAnswer;
    return result;
  }
  result.pred_form = math::format_expr(pool, p.parsed.ref, kShown);
  math::Comparer comparer(pool, options);
  if (comparer.equivalent(g.parsed.ref, p.parsed.ref)) {
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
