// Rule-based equivalence of mathematical answers: does a completion end in the answer that `gold`
// states? The policy (what counts as equal, and why) is written down in docs/math.md.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// Where the answer stands in a completion.
enum class AnswerFormat {
  kAuto,   // after the last </think> when there is one; an open <think> at the start is no answer
  kThink,  // only after the last </think>; without one there is no answer
  kAnswerTag,  // inside the last <answer>...</answer> after the last </think>
};

// One way of finding the answer in prose; with several, the rightmost match of the best rank wins.
struct MathTarget {
  enum class Kind { kLatex, kExpr, kString } kind = Kind::kLatex;
  std::vector<std::string> strings = {"A", "B", "C", "D"};  // kString: the words looked for
};

// Limits that stand in place of alarms. What exceeds them is opaque: it equals only what is written
// the same way.
struct MathBudget {
  int answer_bytes = 4096;  // longer answers are compared as text
  int tokens = 2048;        // per answer
  int depth = 100;          // nesting of groups, scripts and arguments
  int nodes = 6000;         // of both expression trees together
  int exact_bits = 4096;    // numerator or denominator of an exact rational
  int sum_terms = 5000;     // of an unrolled sum or product
  int set_elements = 400;   // of a list, set or tuple
  int64_t work = 60'000;    // evaluation steps of one comparison, each at most a few microseconds
};

struct MathOptions {
  AnswerFormat format = AnswerFormat::kAuto;
  std::vector<MathTarget> targets;  // empty: LaTeX, then plain expressions
  int float_rounding = 6;           // decimals to which a decimal fraction must agree, 0..30
  bool strict = true;  // false: variables match by order of appearance, tuples equal sets
  bool allow_set_relation_comp =
      false;             // true: gold (1,2) accepts 1<x<2; the other direction always holds
  bool verbatim = true;  // an answer that is the gold text itself is right without being read
  bool forms = false;    // fill in the normal forms of the verdict, for people
  MathBudget budget;
};

struct MathVerdict {
  double score = 0;               // 1 when equivalent, else 0
  Reason reason = Reason::kNone;  // correct, wrong, no_answer, parse_error, over_budget or bad_gold
  std::string extracted;          // the answer that was compared, at most 4 KiB
  std::string gold_form;          // normal forms of both sides when asked for, at most 4 KiB each
  std::string pred_form;
};

// Compares the answer stated in `gold` (bare LaTeX, or text with $..$ or \boxed) with the one in
// `completion` (any bytes, any length). Never throws on their content, does no I/O, and ends within
// 100 ms whatever they hold. A gold that does not parse gives kBadGold with score 0: callers mask
// such samples and count them. Thread safe and deterministic. Not symmetric: the gold's form
// decides which forms of the answer are enough.
MathVerdict grade_math(std::string_view gold, std::string_view completion,
                       const MathOptions& options = {});

}  // namespace zeroth
