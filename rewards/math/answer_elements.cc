#include "rewards/math/answer_elements.h"

#include <algorithm>
#include <optional>

#include "rewards/math/lookahead.h"
#include "rewards/math/parse_group.h"
#include "rewards/math/parse_relation.h"
#include "rewards/math/parse_remarks.h"
#include "rewards/math/plus_minus.h"
#include "rewards/math/token_text.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Reads single elements.
class ElementReader {
 public:
  explicit ElementReader(ParseState& state)
      : state_(state), pool_(state.pool), tokens_(state.tokens) {}

  // The element at the cursor, as text when it is not understood. kNoRef for an empty one, and when
  // the pool is full.
  Ref read();
  bool as_text() const { return as_text_; }

 private:
  bool at_end() const {
    return tokens_.done() || tokens_.at().is(Kind::kSeparator) || state_.ended;
  }
  Ref read_value(size_t begin);
  Ref text_to_end(size_t begin);
  bool words_are_answer(Ref value, size_t value_begin, bool words_before, bool labelled);
  bool at_remark_behind_value() const;
  std::optional<size_t> last_part_of_chain(size_t begin, size_t end) const;

  ParseState& state_;
  Pool& pool_;
  TokenCursor& tokens_;
  bool as_text_ = false;
};

Ref ElementReader::read() {
  const size_t begin = tokens_.place();
  Ref value = read_value(begin);
  if (value != kNoRef && at_end()) {
    if (state_.ended) tokens_.move_to(tokens_.last_place());
    return value;
  }
  if (pool_.full()) {
    tokens_.move_to(tokens_.last_place());
    return kNoRef;
  }
  // Not understood: after a chain of equations the last part may still be.
  const size_t end = tokens_.element_end(begin);
  if (const auto last = last_part_of_chain(begin, end)) {
    tokens_.move_to(*last);
    state_.ended = false;
    value = read_value(*last);
    if (value != kNoRef && at_end()) return value;
  }
  state_.ended = false;
  as_text_ = true;
  return text_to_end(begin);
}

// Where the last part of a chain of two equations or more begins; nullopt for anything else, or
// when words deny it.
std::optional<size_t> ElementReader::last_part_of_chain(size_t begin, size_t end) const {
  int depth = 0, equations = 0;
  size_t last = 0;
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens_.token(i);
    if (t.is(Kind::kWord) && is_negation(t.text)) return std::nullopt;
    if (t.is(Kind::kOpen)) ++depth;
    if (t.is(Kind::kClose)) --depth;
    if (depth == 0 && t.is(Kind::kRelation, kEq)) {
      last = i + 1;
      ++equations;
    }
  }
  if (equations < 2) return std::nullopt;
  return last;
}

// The whole element from `begin` on in words; passes it.
Ref ElementReader::text_to_end(size_t begin) {
  const size_t end = tokens_.element_end(begin);
  tokens_.move_to(end);
  return text_of_tokens(pool_, tokens_, begin, end);
}

// "all odd n", "n is odd": about a bare variable the words are the answer, unless they label it.
// "A circle", "I think": the article and the pronoun are no names.
bool ElementReader::words_are_answer(Ref value, size_t value_begin, bool words_before,
                                     bool labelled) {
  if (!pool_.is(value, Op::kSymbol) || tokens_.place() != value_begin + 1) return false;
  const std::string& name = pool_.name(value);
  const Token& next = tokens_.at();
  const bool word_behind = next.is(Kind::kWord);
  if ((name == "A" || name == "I") && word_behind && !is_qualifier(next.text)) {
    as_text_ |= name == "I";
    return true;
  }
  return !labelled && name.size() == 1 && name[0] >= 'a' &&
         (words_before || (word_behind && !is_unit(next.text)));
}

bool ElementReader::at_remark_behind_value() const {
  const Token& t = tokens_.at();
  return t.is(Kind::kWord) || at_unit_fraction(tokens_) || at_symbol_unit(tokens_) ||
         at_remark(tokens_) || ((t.is(Kind::kLetter) || t.is(Kind::kOpen, '(')) && t.upright);
}

Ref ElementReader::read_value(size_t begin) {
  if (tokens_.at().is(Kind::kWord) && only_words_ahead(tokens_)) return text_to_end(begin);
  const Token &t = tokens_.at(), &next = tokens_.at(1);
  const bool product_of_letters = t.is(Kind::kWord) && !t.upright &&
                                  (next.is(Kind::kOperator) || next.is(Kind::kOpen)) &&
                                  !next.is(Kind::kOperator, ':');
  std::string label;
  if (!product_of_letters) {
    auto words = skip_leading_words(state_);
    if (!words) return kNoRef;
    label = std::move(*words);
  }
  if (tokens_.at().is(Kind::kRelation, kEq) || tokens_.at().is(Kind::kRelation, kApprox))
    tokens_.advance();  // "= 5"
  if (at_end()) return kNoRef;
  if (at_function_definition(tokens_)) {
    state_.defined_at = tokens_.place();
    state_.functions.insert(tokens_.at().text);
  }
  const size_t value_begin = tokens_.place();
  const Ref value = parse_relation(state_);
  if (value == kNoRef) return kNoRef;
  if (words_are_answer(value, value_begin, value_begin > begin, !label.empty()))
    return text_to_end(begin);
  if (!at_end() && at_remark_behind_value() && !skip_trailing_words(state_)) return kNoRef;
  if (!label.empty() && !pool_.is(value, Op::kRelation))
    return pool_.make(Op::kRelation, {pool_.symbol(label), value}, pool_.intern("="));
  return value;
}

// The name that a relation "k in Z" says to run through a set of numbers; -1 for anything else.
int32_t parameter_of(const Pool& pool, Ref ref) {
  const bool range = pool.is(ref, Op::kRelation) && pool.name(ref) == "i" &&
                     pool.is(pool.child(ref, 1), Op::kSpecialSet) &&
                     pool.is(pool.child(ref, 0), Op::kSymbol);
  return range ? pool[pool.child(ref, 0)].data : -1;
}

// "x = 2k pi, k in Z": the range of a parameter is no member of the list, but noted.
// \{2k pi : k in Z\} says the same.
std::vector<Ref> without_ranges(const Pool& pool, std::vector<Ref> items, AnswerNotes* notes) {
  if (items.size() == 1 && pool.is(items[0], Op::kSetBuilder) && pool[items[0]].count == 2) {
    const Ref element = pool.child(items[0], 0);
    const int32_t name = parameter_of(pool, pool.child(items[0], 1));
    const bool bare = pool.is(element, Op::kSymbol) || pool.is(element, Op::kRelation);
    if (name >= 0 && !bare) {
      notes->parameters.push_back(name);
      return {element};
    }
  }
  if (items.size() < 2) return items;
  std::vector<Ref> kept;
  for (Ref item : items) {
    const int32_t name = parameter_of(pool, item);
    if (name < 0) {
      kept.push_back(item);
    } else {
      notes->parameters.push_back(name);
    }
  }
  if (!kept.empty()) return kept;
  notes->parameters.clear();
  return items;
}

// "9, not 8", "x = 2k, where k ..": a clause about the answer before it.
bool at_clause_about(const ParseState& state, const std::vector<Ref>& items) {
  const Token& t = state.tokens.at();
  return !items.empty() && !state.pool.is(items.back(), Op::kText) && t.is(Kind::kWord) &&
         (t.text == "not" || is_qualifier(t.text)) && !more_cases_ahead(state.tokens);
}

constexpr AnswerElements kOverBudget{kNoRef, true, true};

}  // namespace

AnswerElements read_elements(ParseState& state) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  ElementReader reader(state);
  std::vector<Ref> items;
  uint8_t joined = 0;  // by which conjunctions
  while (!tokens.done() && !state.ended) {
    if (tokens.at().is(Kind::kSeparator)) {
      joined |= joined_by(tokens.at());
      tokens.advance();
      continue;
    }
    if (static_cast<int>(items.size()) > pool.budget().set_elements || pool.full())
      return kOverBudget;
    if (at_clause_about(state, items)) break;
    const size_t before = tokens.place();
    const Ref item = reader.read();
    if (item != kNoRef) {
      for (Ref variant : expand_signs(pool, item)) items.push_back(variant);
    }
    if (tokens.place() == before) tokens.advance();
  }
  if (pool.full()) return kOverBudget;
  items = without_ranges(pool, std::move(items), &state.notes);
  if (items.empty()) return {};
  // {1,2} in plain braces is a list.
  const Ref whole = items.size() == 1 ? items[0] : pool.make(Op::kList, items, 0, joined);
  return {whole, reader.as_text(), false};
}

}  // namespace zeroth::math
