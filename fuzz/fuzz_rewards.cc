// Everything that reads text of a policy in the rule rewards and in Countdown traces: no input may
// crash, hang or break what the headers promise.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "rewards/expression.h"
#include "rewards/final_number.h"
#include "rewards/format.h"
#include "rewards/process.h"
#include "rewards/shaping.h"
#include "tasks/builtin/countdown_trace.h"
#include "tasks/builtin/small_function.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zeroth;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Expression e = evaluate_expression(text);
  require(e.reason != Reason::kNone);
  require(e.ok() == e.error.empty());
  require(e.value.denominator >= 1);
  if (e.ok())
    require(text.find_first_of(".^%=abcdefghijklmnopqrstuvwxyz") == std::string_view::npos);

  for (const bool opened : {false, true}) {
    for (const bool stopped : {false, true}) {
      const FormatRules rules{opened, true, stopped};
      const ResponseParts parts = split_response(text, rules);
      require((parts.reason == Reason::kNone) == !parts.answer.empty());
      const Verdict format = check_format(text, rules, FinishReason::kStop);
      if (format.score == 1) require(parts.reason == Reason::kNone);
    }
  }

  for (const NumberPlace place : {NumberPlace::kLast, NumberPlace::kMarker}) {
    const auto found = find_final_number(text, place);
    if (found) require(found->begin <= found->end && found->end <= size && !found->text.empty());
  }

  const EquationCount equations = count_equations(text);
  require(equations.right <= equations.stated);

  const std::vector<int64_t> numbers = {6, 9, 9};
  const CountdownTrace trace = parse_countdown_trace(text, numbers);
  for (const TraceTry& t : trace.tries) {
    require(t.begin <= t.end && t.end <= size && t.steps_right <= t.steps);
    // What counts as legal is a formula that the checker accepts.
    if (t.legal && t.value) {
      const Verdict v = check_countdown(t.expression, numbers, 24);
      require(v.reason == Reason::kCorrect || v.reason == Reason::kWrong);
    }
  }
  countdown_facts(trace, 24, false);

  const double share = language_consistency(text, known_scripts());
  require(share == 1);  // every word is in one of all scripts

  const SmallFunction function = SmallFunction::parse(text);
  int64_t value = 0;
  if (function.ok()) function.call(3, -2, &value);
  return 0;
}
