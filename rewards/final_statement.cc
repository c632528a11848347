#include "rewards/final_statement.h"

#include <algorithm>

#include "core/ascii.h"
#include "rewards/expression.h"
#include "rewards/format.h"
#include "rewards/math/boxes.h"
#include "rewards/math/clause.h"
#include "rewards/math/extract_parts.h"

namespace zeroth {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr size_t kShort = 300;  // bytes of a text that is a statement as a whole

using ascii::is_digit;

// "15 = 5*3": the number stands in front of how it came about.
std::string_view without_working(std::string_view clause) {
  const size_t equals = clause.find('=');
  if (equals == kNone || clause.find('=', equals + 1) != kNone) return clause;
  const std::string_view number = trim(clause.substr(0, equals)),
                         work = trim(clause.substr(equals + 1));
  if (number.empty() || work.empty() || number.size() > 40 || work.size() > 200) return clause;
  const Expression left = evaluate_expression(number), right = evaluate_expression(work);
  const bool stated = left.ok() && right.ok() && left.numbers.size() == 1 &&
                      right.numbers.size() > 1 && left.value == right.value;
  return stated ? number : clause;
}

// The statement of a sentence, and whether what follows takes it back.
std::string_view statement(std::string_view sentence, std::string_view comment) {
  const size_t digit = sentence.find_first_of("0123456789");
  if (digit != kNone && math::denies(sentence.substr(0, digit))) {
    const size_t but = sentence.find(" but ", digit);  // "not 14 but 15"
    return but == kNone ? std::string_view() : sentence.substr(but + 5);
  }
  const std::string_view clause = math::answer_clause(sentence);
  if (digit == kNone || digit >= clause.size()) return clause;
  const size_t behind = clause.find_first_not_of("0123456789.,", digit);
  if (behind != kNone && math::takes_back(clause.substr(behind))) return {};
  if (math::takes_back(sentence.substr(clause.size())) || math::takes_back(comment)) return {};
  return without_working(clause);
}

}  // namespace

std::string_view final_statement(std::string_view text) {
  if (const auto box = math::last_box_content(text)) return *box;
  const size_t from = text.size() - std::min<size_t>(text.size(), 2000);
  const size_t anchor = math::find_last_ignoring_case(text.substr(from), "answer");
  if (anchor != kNone) {
    size_t at = from + anchor + 6;
    while (at < text.size() && (text[at] == '*' || text[at] == ' ')) ++at;
    const bool is = text.substr(at).starts_with("is ") || text.substr(at).starts_with("is:");
    if (is || (at < text.size() && text[at] == ':')) {
      std::string_view rest = text.substr(at + (is ? 2 : 1));
      while (!rest.empty() && std::string_view(": *\n").find(rest.front()) != kNone)
        rest.remove_prefix(1);
      size_t end = std::min(rest.find('\n'), rest.size());
      for (size_t i = 0; i + 1 < end; ++i) {
        if ((rest[i] == '.' || rest[i] == '?') && (rest[i + 1] == ' ' || rest[i + 1] == '\n'))
          end = i;
      }
      const std::string_view sentence = rest.substr(0, end);
      // A second line may still say more: "Answer: see below".
      if (std::any_of(sentence.begin(), sentence.end(), is_digit))
        return statement(sentence, rest.substr(end));
    }
  }
  const std::string_view whole = trim(text);
  if (whole.size() > kShort || whole.find('\n') != kNone) return text;
  return statement(whole, {});
}

}  // namespace zeroth
