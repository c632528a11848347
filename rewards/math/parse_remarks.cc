#include "rewards/math/parse_remarks.h"

#include <algorithm>
#include <array>

#include "rewards/math/extract_parts.h"
#include "rewards/math/lookahead.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Phrases that begin with these qualify the answer before them; they end it.
constexpr auto kQualifiers = std::to_array<std::string_view>(
    {"is",     "for",   "where", "when",   "if",      "such",   "with",     "because",
     "since",  "as",    "are",   "at",     "on",      "given",  "whenever", "which",
     "that",   "so",    "from",  "per",    "of",      "both",   "only",     "in",
     "forall", "holds", "have",  "rather", "instead", "unlike", "but",      "obtained"});
// With one of these the number beside it is not the answer.
constexpr auto kNegations = std::to_array<std::string_view>(
    {"not", "no", "never", "cannot", "none", "neither", "nor", "isn", "isnt", "undefined",
     "impossible", "wrong", "incorrect", "without", "except", "NOT", "Not", "No", "unknown"});

// In brackets behind a value these take it back.
constexpr auto kTakesBack =
    std::to_array<std::string_view>({"wrong", "incorrect", "false", "invalid", "impossible"});

// Beside one of these a number is a date, not a value.
constexpr auto kMonths =
    std::to_array<std::string_view>({"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"});

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool takes_back(const Token& t) { return t.is(Kind::kWord) && one_of(t.text, kTakesBack); }

bool is_upright_letter(const Token& t) { return t.is(Kind::kLetter) && t.upright; }

// Notes what a word behind a value says about it.
void note_word(const std::string& word, AnswerNotes* notes) {
  if (word == "am" || word == "AM") notes->half_day = HalfDay::kMorning;
  if (word == "pm" || word == "PM") notes->half_day = HalfDay::kAfternoon;
  if (word == "rad" || word == "radian" || word == "radians") notes->angle = AngleUnit::kRadians;
  if (word == "deg" || word == "degree" || word == "degrees") notes->angle = AngleUnit::kDegrees;
}

// The word makes another value of the one beside it.
bool changes_value(const Token& word) {
  return word.changes || is_negation(word.text) || one_of(word.text, kMonths);
}

// "5 is wrong", at the "is".
bool phrase_takes_back(const TokenCursor& tokens) {
  for (size_t ahead = 0; ahead < 5; ++ahead) {
    if (takes_back(tokens.at(ahead))) return true;
  }
  return false;
}

// A token inside a remark in brackets, which says what it likes unless it takes the value back.
// False when it does.
bool read_in_brackets(ParseState& state) {
  const Token &t = state.tokens.at(), &next = state.tokens.at(1);
  if (t.is(Kind::kLetter) && next.is(Kind::kRelation, kIn))
    state.notes.parameters.push_back(state.pool.intern(t.text));
  const bool denial = t.is(Kind::kWord) && t.text == "not" && next.is(Kind::kWord);
  return !denial && !takes_back(t);
}

// A number behind a unit is one of its exponents ("cm^2", "cm2"), or a further value: "5 hours 20
// minutes" is not 5.
bool is_further_value(const TokenCursor& tokens) {
  const Token& before = tokens.before();
  const bool script = before.is(Kind::kOperator, '^') || before.is(Kind::kOperator, '-') ||
                      before.is(Kind::kOpen, '{') || !tokens.at().space;
  return !script;
}

}  // namespace

bool is_qualifier(std::string_view word) { return one_of(word, kQualifiers); }
bool is_negation(std::string_view word) { return one_of(word, kNegations); }

std::optional<std::string> skip_leading_words(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  const size_t begin = tokens.place();
  // "a total of 5"
  if (is_upright_letter(tokens.at()) && tokens.at().text == "a" && tokens.at(1).is(Kind::kWord))
    tokens.advance();
  while (tokens.at().is(Kind::kWord)) {
    if (changes_value(tokens.at())) return std::nullopt;
    tokens.advance();
    while (is_upright_letter(tokens.at()) && tokens.at(1).is(Kind::kWord))
      tokens.advance();  // "is a"
  }
  std::string name;
  if (tokens.place() == begin) return name;
  if (tokens.at().is(Kind::kOperator, ':') || tokens.at().is(Kind::kRelation, kEq)) {
    for (size_t i = begin; i < tokens.place(); ++i) name += lower_case(tokens.token(i).text);
    tokens.advance();
  }
  return name;
}

bool skip_trailing_words(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  const size_t begin = tokens.place();
  bool further_value = false;
  int open = 0;  // brackets opened by the remark itself
  while (!tokens.done() && !tokens.at().is(Kind::kSeparator) && !tokens.at().is(Kind::kCell)) {
    const Token& t = tokens.at();
    const bool first = tokens.place() == begin;
    if (t.is(Kind::kClose) && open == 0) break;
    open += t.is(Kind::kOpen);
    open -= t.is(Kind::kClose);
    if (open > 0) {
      if (!read_in_brackets(state)) return false;
    } else if (t.is(Kind::kWord) || is_upright_letter(t)) {
      if (first && t.is(Kind::kLetter)) state.notes.unit = t.text;
      if (changes_value(t)) return false;
      note_word(t.text, &state.notes);
      if (is_qualifier(t.text) && state.depth <= 1 && !state.in_set) {
        if (more_cases_ahead(tokens) || phrase_takes_back(tokens)) return false;
        state.ended = true;
        return true;
      }
    } else if (t.is(Kind::kNumber) && !first) {
      further_value |= is_further_value(tokens);
    } else if (t.is(Kind::kRelation)) {
      return false;
    }
    tokens.advance();
  }
  return !further_value;
}

}  // namespace zeroth::math
