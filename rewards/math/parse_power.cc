#include "rewards/math/parse_power.h"

#include "rewards/math/arith.h"
#include "rewards/math/parse_atom.h"
#include "rewards/math/parse_group.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

bool is_degree_command(const Token& t) {
  return t.is(Kind::kCommand) && (t.text == "circ" || t.text == "degree");
}

// "45^o": the letter in the place of the degree sign.
bool accept_degree_letter(TokenCursor& tokens) {
  const bool braced = tokens.at().is(Kind::kOpen, '{');
  const Token& letter = tokens.at(braced ? 1 : 0);
  if (!letter.is(Kind::kLetter) || letter.text != "o") return false;
  if (braced && !tokens.at(2).is(Kind::kClose, '}')) return false;
  tokens.advance(braced ? 3 : 1);
  return true;
}

// "{th}", "{\text{nd}}" at the cursor.
bool at_ordinal_group(const TokenCursor& tokens) {
  const Token &first = tokens.at(1), &second = tokens.at(2);
  if (first.is(Kind::kWord)) return true;
  if (!first.is(Kind::kLetter) || !second.is(Kind::kLetter) || !tokens.at(3).is(Kind::kClose, '}'))
    return false;
  const std::string suffix = first.text + second.text;
  return suffix == "th" || suffix == "st" || suffix == "nd" || suffix == "rd";
}

Exponent parse_braced_exponent(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  const Token& inner = tokens.at(1);
  const bool single = tokens.at(2).is(Kind::kClose, '}');
  if (single && (is_degree_command(inner) || inner.is(Kind::kDegree))) {
    tokens.advance(3);
    return {Superscript::kDegree};
  }
  if (at_ordinal_group(tokens)) {
    tokens.raw_group();
    return {Superscript::kOrdinal};
  }
  return {Superscript::kPower, parse_braced(state)};
}

// A signed atom, or an atom with its own exponent: 2^3^4 is 2^(3^4). TeX takes one digit and plain
// text means the whole number; both agree on one digit.
Ref parse_bare_exponent(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  if (tokens.at().is(Kind::kOperator, '-') || tokens.at().is(Kind::kOperator, '+')) {
    const bool negative = tokens.at().ch == '-';
    tokens.advance();
    const Ref inner = parse_atom(state);
    return inner != kNoRef && negative ? state.pool.neg(inner) : inner;
  }
  const Ref base = parse_atom(state);
  if (base == kNoRef || !tokens.accept(Kind::kOperator, '^')) return base;
  Nesting nesting(state);
  if (state.depth > state.pool.budget().depth) return kNoRef;
  const Ref upper = parse_power_exponent(state);
  return upper == kNoRef ? kNoRef : state.pool.pow(base, upper);
}

// x!; "1.5!" is a cheer.
Ref parse_factorial(ParseState& state, Ref base) {
  const Pool& pool = state.pool;
  const bool literal = state.tokens.before().is(Kind::kNumber);
  state.tokens.advance();
  const bool decimal = literal && pool.is_number(base) && !pool.value(base).is_integer();
  return decimal ? base : state.pool.function(Function::kFactorial, {base});
}

// (1,2)^T stands upright.
Ref transposed(Pool& pool, Ref base) {
  const bool closed = pool.is(base, Op::kInterval) && pool[base].flag == 0;
  if (pool.is(base, Op::kTuple) || closed)
    return pool.make(Op::kMatrix, pool.copy_children(base), 1);
  return pool.is(base, Op::kMatrix) ? transpose(pool, base) : pool.pow(base, pool.symbol("T"));
}

// base^.., behind '^'.
Ref parse_superscript(ParseState& state, Ref base) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  if (pool.is_number(base) && accept_degree_letter(tokens)) return pool.make(Op::kDegree, {base});
  const Exponent exponent = parse_exponent(state);
  switch (exponent.kind) {
    case Superscript::kDegree:
      state.notes.angle = AngleUnit::kDegrees;
      base = pool.make(Op::kDegree, {base});
      if (tokens.at().is(Kind::kLetter) && (tokens.at().text == "C" || tokens.at().text == "F"))
        tokens.advance();
      return base;
    case Superscript::kTranspose:
      return transposed(pool, base);
    case Superscript::kOrdinal:
      return base;
    case Superscript::kPower:
      break;
  }
  return exponent.power == kNoRef ? kNoRef : combine_pow(pool, base, exponent.power);
}

}  // namespace

Ref parse_marks(ParseState& state, Ref base) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  while (base != kNoRef) {
    if (tokens.at().is(Kind::kOperator, '!')) {
      base = parse_factorial(state, base);
    } else if (tokens.at().is(Kind::kPercent)) {
      tokens.advance();
      if (!pool.is(base, Op::kPercent)) base = pool.make(Op::kPercent, {base});
    } else if (tokens.at().is(Kind::kDegree)) {
      tokens.advance();
      state.notes.angle = AngleUnit::kDegrees;
      base = pool.make(Op::kDegree, {base});
    } else if (tokens.accept(Kind::kOperator, '^')) {
      base = parse_superscript(state, base);
    } else if (tokens.at().is(Kind::kOperator, '_') &&
               (pool.is(base, Op::kMatrix) || pool.is(base, Op::kTuple))) {
      tokens.advance();
      tokens.raw_group();
    } else {
      break;
    }
  }
  return base;
}

Exponent parse_exponent(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  const Token& t = tokens.at();
  if (t.is(Kind::kOpen, '{')) return parse_braced_exponent(state);
  if (is_degree_command(t)) {
    tokens.advance();
    return {Superscript::kDegree};
  }
  if (t.is(Kind::kWord) || t.is(Kind::kOperator, '*')) {
    tokens.advance();
    return {Superscript::kOrdinal};
  }
  if ((t.is(Kind::kLetter) && t.text == "T") || tokens.at_command("top") ||
      tokens.at_command("intercal")) {
    tokens.advance();
    return {Superscript::kTranspose};
  }
  if (t.is(Kind::kOperator, '\'')) return {};
  return {Superscript::kPower, parse_bare_exponent(state)};
}

Ref parse_power_exponent(ParseState& state) {
  const Exponent exponent = parse_exponent(state);
  return exponent.kind == Superscript::kPower ? exponent.power : kNoRef;
}

}  // namespace zeroth::math
