#include "rewards/math/parser.h"

#include <string>

#include "rewards/math/answer_elements.h"
#include "rewards/math/bases.h"
#include "rewards/math/extract_parts.h"
#include "rewards/math/rewrite.h"

namespace zeroth::math {

namespace {

// "0.333...": the dots belong to the number.
bool recurs(std::string_view source) {
  if (!source.ends_with("...")) return false;
  while (source.ends_with('.')) source.remove_suffix(1);
  return !source.empty() && source.back() >= '0' && source.back() <= '9';
}

// Without blanks and dots before it, and blanks and punctuation behind it.
std::string_view without_rim(std::string_view source) {
  while (source.starts_with("..")) source.remove_prefix(1);
  while (!source.empty() && !recurs(source) &&
         std::string_view(" \n.,;\\").find(source.back()) != std::string_view::npos)
    source.remove_suffix(1);
  while (source.starts_with(' ') || source.starts_with('\n')) source.remove_prefix(1);
  return source;
}

// Without Markdown's emphasis, braces and quotes around the whole.
std::string_view without_wrapping(std::string_view source) {
  while (source.size() >= 4 && source.starts_with("**") && source.ends_with("**"))
    source = source.substr(2, source.size() - 4);
  while (source.size() >= 2 && source.front() == '{' && source.back() == '}' &&
         matching_brace(source, 0) == source.size() - 1)
    source = source.substr(1, source.size() - 2);
  if (source.size() > 2 && source.front() == '\'' && source.find('\'', 1) == source.size() - 1)
    source = source.substr(1, source.size() - 2);
  return source;
}

// A date, or a number with letters among its digits: the whole answer in a notation of its own.
// kNoRef for anything else.
Ref read_notation(Pool& pool, std::string_view source) {
  const bool group = source.starts_with("\\text{") && source.ends_with('}');
  const std::string date = read_date(group ? source.substr(6, source.size() - 7) : source);
  return date.empty() ? read_lettered_base(pool, source) : pool.text(date);
}

ParsedAnswer whole_as_text(Pool& pool, std::string_view source) {
  return {
      .ref = pool.text(source), .as_text = true, .over_budget = true, .notes = {}, .measure = {}};
}

}  // namespace

ParsedAnswer parse_answer(Pool& pool, std::string_view source, bool plain, bool comma_groups) {
  ParsedAnswer result;
  source = without_wrapping(without_rim(source));
  if (source.empty()) return result;
  result.ref = read_notation(pool, source);
  if (result.ref != kNoRef) return result;
  thread_local std::vector<Token> tokens;  // keeps its memory
  LexOptions options;
  options.plain = plain && comma_groups;
  options.comma_groups = comma_groups;
  options.max_tokens = pool.budget().tokens;
  if (static_cast<int>(source.size()) > pool.budget().answer_bytes ||
      !tokenize(source, options, &tokens))
    return whole_as_text(pool, source);
  rewrite_tokens(&tokens);
  result.measure = read_measure(tokens);
  if (const Measure& measure = result.measure; measure.compound) {
    result.ref =
        pool.text(std::string("measure ") + measure.dimension + " " + measure.value.to_string());
    return result;
  }
  ParseState state(pool, tokens);
  const AnswerElements elements = read_elements(state);
  result.ref = elements.over_budget ? pool.text(source) : elements.whole;
  result.as_text = elements.as_text;
  result.over_budget = elements.over_budget;
  if (elements.whole != kNoRef) result.notes = std::move(state.notes);
  return result;
}

}  // namespace zeroth::math
