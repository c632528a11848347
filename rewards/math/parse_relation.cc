#include "rewards/math/parse_relation.h"

#include "rewards/math/lookahead.h"
#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_remarks.h"
#include "rewards/math/token_text.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// The side behind a sign: words alone, or an expression with words before it: "x = \text{five}",
// "x = 5 or 6".
Ref parse_right_side(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  if (tokens.at().is(Kind::kWord) && tokens.at().upright) {
    if (only_words_ahead(tokens)) {
      const size_t begin = tokens.place(), end = tokens.element_end(begin);
      tokens.move_to(end);
      return text_of_tokens(state.pool, tokens, begin, end);
    }
    while (tokens.at().is(Kind::kWord) && !is_negation(tokens.at().text)) tokens.advance();
  }
  return parse_set_expression(state);
}

// Drops the approximations: in "a = b ~ 0.57" the value before counts. "x ~ 11" is an assignment.
void drop_approximations(const Pool& pool, std::vector<Ref>* terms, std::string* codes) {
  size_t approx = codes->find(kApprox);
  const Op first = pool[terms->front()].op;
  const bool name = first == Op::kSymbol || first == Op::kCall || first == Op::kText;
  if (approx == 0 && name) {
    codes->front() = kEq;
    approx = codes->find(kApprox);
  }
  if (approx == std::string::npos) return;
  codes->resize(approx);
  terms->resize(approx + 1);
}

}  // namespace

Ref parse_relation(ParseState& state) {
  Nesting nesting(state);
  if (state.over_budget()) return kNoRef;
  TokenCursor& tokens = state.tokens;
  std::string codes;
  std::vector<Ref> terms{parse_set_expression(state)};
  if (terms[0] == kNoRef) return kNoRef;
  while (tokens.at().is(Kind::kRelation)) {
    codes.push_back(tokens.at().ch);
    tokens.advance();
    tokens.accept(Kind::kRelation, kEq);  // ">= =" and the like
    const Ref next = parse_right_side(state);
    if (next == kNoRef) return kNoRef;
    terms.push_back(next);
  }
  if (terms.size() == 1) return terms[0];
  if (codes.size() == 1 && codes[0] == kCongruent && state.modulus != kNoRef) {
    codes += kModulo;
    terms.push_back(std::exchange(state.modulus, kNoRef));
  }
  drop_approximations(state.pool, &terms, &codes);
  if (terms.size() == 1) return terms[0];
  return state.pool.make(Op::kRelation, terms, state.pool.intern(codes));
}

}  // namespace zeroth::math
