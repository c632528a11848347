#include "rewards/math/parse_expression.h"

#include <algorithm>
#include <array>

#include "rewards/math/arith.h"
#include "rewards/math/lookahead.h"
#include "rewards/math/parse_atom.h"
#include "rewards/math/parse_group.h"
#include "rewards/math/parse_power.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Commands that end a product.
constexpr auto kNoFactors = std::to_array<std::string_view>(
    {"cup",     "cap", "setminus", "backslash", "cupdot",   "bigcup", "pmod",
     "bmod",    "mod", "over",     "choose",    "end",      "to",     "Rightarrow",
     "implies", "iff", "forall",   "perp",      "parallel", "mapsto"});

bool is_set_like(const Pool& pool, Ref ref) {
  return is_region_op(pool[ref].op) || pool.is(ref, Op::kSet) || pool.is(ref, Op::kTuple);
}

// What a fraction may be made of.
bool is_plain(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kList:
    case Op::kRelation:
    case Op::kMatrix:
    case Op::kText:
    case Op::kBase:
      return false;
    default:
      return !is_set_like(pool, ref);
  }
}

// The set operation at the cursor; kText for none.
Op set_operation(const ParseState& state, Ref left) {
  const TokenCursor& tokens = state.tokens;
  const Token& t = tokens.at();
  if (t.is(Kind::kCommand)) {
    if (t.text == "cup" || t.text == "bigcup" || t.text == "cupdot") return Op::kUnion;
    if (t.text == "cap" || t.text == "bigcap") return Op::kIntersection;
    if (t.text == "setminus" || t.text == "backslash") return Op::kDifference;
  }
  const bool union_letter = t.is(Kind::kLetter) && t.text == "U" && is_set_like(state.pool, left) &&
                            tokens.at(1).is(Kind::kOpen);
  return union_letter ? Op::kUnion : Op::kText;
}

// "a \over b" and "n \choose k", behind a.
Ref parse_infix_fraction(ParseState& state, Ref left) {
  const bool fraction = state.tokens.at().text == "over";
  state.tokens.advance();
  const Ref right = parse_sum(state);
  if (right == kNoRef || !is_plain(state.pool, left) || !is_plain(state.pool, right)) return kNoRef;
  return fraction ? state.pool.div(left, right)
                  : state.pool.function(Function::kBinomial, {left, right});
}

// left (sign) right, where the sign is + - P M.
Ref combine_terms(Pool& pool, Ref left, char sign, Ref right) {
  const bool sets = is_set_like(pool, left) && is_set_like(pool, right) &&
                    !(pool.is(left, Op::kTuple) && pool.is(right, Op::kTuple));
  if (sign == '-' && sets) return pool.make(Op::kDifference, {left, right});
  if (sign == '-') right = combine_mul(pool, pool.integer(-1), right);
  if (sign == 'P') right = pool.make(Op::kPlusMinus, {right});
  if (sign == 'M') right = pool.make(Op::kMinusPlus, {right});
  return right == kNoRef ? kNoRef : combine_add(pool, left, right);
}

// left (sign) right, where the sign is * / :
Ref combine_factors(Pool& pool, Ref left, char sign, Ref right) {
  if (sign == ':') {
    std::vector<Ref> parts =
        pool.is(left, Op::kRatio) ? pool.copy_children(left) : std::vector<Ref>{left};
    parts.push_back(right);
    return pool.make(Op::kRatio, parts);
  }
  if (sign == '*') return combine_mul(pool, left, right);
  if (pool.is(left, Op::kMatrix) || pool.is(left, Op::kPercent))
    return combine_mul(pool, pool.div(pool.integer(1), right), left);
  return pool.div(left, right);
}

// Two values side by side are no value, but "n! 2^n", "3! 7!" and "(1+x)^2 3^n" are products.
bool number_multiplies(const TokenCursor& tokens) {
  const Token& before = tokens.before();
  if (before.is(Kind::kOperator, '!') && tokens.at(1).is(Kind::kOperator, '!')) return true;
  const bool closed = before.is(Kind::kClose, ')') || before.is(Kind::kClose, '}') ||
                      before.is(Kind::kOperator, '!');
  const bool exponent = before.is(Kind::kNumber) && tokens.before(2).is(Kind::kOperator, '^');
  return tokens.at(1).is(Kind::kOperator, '^') && (closed || exponent);
}

// "bmod 7", "(mod 7)" and "\pmod{7}" behind a value. The last two belong to a congruence, which
// takes them from the state.
Ref parse_modulus(ParseState& state, Ref value) {
  TokenCursor& tokens = state.tokens;
  if (tokens.at_command("bmod") || tokens.at_command("mod")) {
    tokens.advance();
    const Ref modulus = parse_factor(state);
    return modulus == kNoRef ? kNoRef : state.pool.function(Function::kMod, {value, modulus});
  }
  if (tokens.at_command("pmod")) {
    tokens.advance();
    state.modulus = parse_braced(state);
    return state.modulus == kNoRef ? kNoRef : value;
  }
  if (at_bracketed_modulus(tokens)) {
    tokens.advance(2);
    state.modulus = parse_factor(state);
    return state.modulus == kNoRef || !tokens.accept(Kind::kClose, ')') ? kNoRef : value;
  }
  return value;
}

// The factors that stand side by side from `first` on.
Ref parse_juxtaposition(ParseState& state, Ref first) {
  Pool& pool = state.pool;
  Ref product = first;
  while (starts_factor(state)) {
    if (pool.full()) return kNoRef;
    if (stops_for_unit(state, product) || at_bracketed_modulus(state.tokens) ||
        at_remark(state.tokens))
      break;
    if (pool.is(first, Op::kPercent) && product == first && state.tokens.at().is(Kind::kNumber))
      return kNoRef;
    const Ref next = parse_factor(state);
    if (next == kNoRef) return kNoRef;
    const bool point = pool.is(next, Op::kTuple) && pool.is(product, Op::kSymbol);
    product = point ? next : combine_mul(pool, product, next);  // "A(1,2)" names a point
    if (product == kNoRef) return kNoRef;
  }
  if (state.tokens.at().is(Kind::kNumber)) {
    const Ref next = number_multiplies(state.tokens) ? parse_factor(state) : kNoRef;
    if (next == kNoRef) return kNoRef;
    product = combine_mul(pool, product, next);
    return product == kNoRef ? kNoRef : parse_juxtaposition(state, product);
  }
  return parse_modulus(state, product);
}

// +- and -+ before a product, `negative` when a minus sign stands before them.
Ref parse_open_sign(ParseState& state, bool negative) {
  Nesting nesting(state);
  if (state.depth > state.pool.budget().depth) return kNoRef;
  const bool plus_minus = state.tokens.at().ch == 'P';
  state.tokens.advance();
  const Ref inner = parse_signed_product(state);
  if (inner == kNoRef) return kNoRef;
  return state.pool.make(plus_minus != negative ? Op::kPlusMinus : Op::kMinusPlus, {inner});
}

}  // namespace

Ref parse_set_expression(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  Ref left = parse_sum(state);
  if (left != kNoRef && (tokens.at_command("over") || tokens.at_command("choose")))
    left = parse_infix_fraction(state, left);
  while (left != kNoRef) {
    const Op op = set_operation(state, left);
    if (op == Op::kText) break;
    tokens.advance();
    const Ref right = parse_sum(state);
    if (right == kNoRef) return kNoRef;
    left = state.pool.make(op, {left, right});
  }
  return left;
}

Ref parse_sum(ParseState& state) {
  Nesting nesting(state);
  if (state.over_budget()) return kNoRef;
  Ref left = parse_product(state);
  while (left != kNoRef && state.tokens.at().is(Kind::kOperator)) {
    const char sign = state.tokens.at().ch;
    if (sign != '+' && sign != '-' && sign != 'P' && sign != 'M') break;
    state.tokens.advance();
    if (state.pool.full()) return kNoRef;
    const Ref right = parse_product(state);
    if (right == kNoRef) return kNoRef;
    left = combine_terms(state.pool, left, sign, right);
  }
  return left;
}

Ref parse_product(ParseState& state) {
  Ref left = parse_signed_product(state);
  while (left != kNoRef && state.tokens.at().is(Kind::kOperator)) {
    const char sign = state.tokens.at().ch;
    if (sign != '*' && sign != '/' && (sign != ':' || state.in_set)) break;
    state.tokens.advance();
    const Ref right = parse_signed_product(state);
    if (right == kNoRef || state.pool.full()) return kNoRef;
    left = combine_factors(state.pool, left, sign, right);
  }
  return left;
}

Ref parse_signed_product(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  bool negative = false;
  while (tokens.at().is(Kind::kOperator, '+') || tokens.at().is(Kind::kOperator, '-')) {
    negative ^= tokens.at().ch == '-';
    tokens.advance();
  }
  if (tokens.at().is(Kind::kOperator, 'P') || tokens.at().is(Kind::kOperator, 'M'))
    return parse_open_sign(state, negative);
  const Ref first = parse_factor(state);
  const Ref product = first == kNoRef ? kNoRef : parse_juxtaposition(state, first);
  if (product == kNoRef || !negative) return product;
  return combine_mul(state.pool, state.pool.integer(-1), product);
}

Ref parse_factor(ParseState& state) {
  Nesting nesting(state);
  if (state.over_budget()) return kNoRef;
  const Ref base = parse_atom(state);
  return base == kNoRef ? kNoRef : parse_marks(state, base);
}

bool starts_factor(const ParseState& state) {
  const TokenCursor& tokens = state.tokens;
  const Token &t = tokens.at(), &before = tokens.before();
  switch (t.kind) {
    case Kind::kLetter:
      return !(t.text == "U" && tokens.at(1).is(Kind::kOpen) && before.is(Kind::kClose));
    case Kind::kNumber:
      // "x2" and ") 2" are not products that people write; "2 3" is none either. "3!7!" and "i2"
      // are.
      return !t.space &&
             (before.is(Kind::kOperator, '!') || (before.is(Kind::kLetter) && before.text == "i"));
    case Kind::kCommand:
      return std::find(kNoFactors.begin(), kNoFactors.end(), t.text) == kNoFactors.end();
    case Kind::kOpen:
      return true;
    case Kind::kBar:
      return state.open_bars == 0 && !state.in_set;
    default:
      return false;
  }
}

bool stops_for_unit(const ParseState& state, Ref so_far) {
  const TokenCursor& tokens = state.tokens;
  const Pool& pool = state.pool;
  if (at_unit_fraction(tokens)) return pool.is_constant(so_far);
  if (at_symbol_unit(tokens)) return pool.is_number(so_far);
  if (!tokens.at().is(Kind::kLetter) || !tokens.at().upright) return false;
  // "5\mathrm{C}_4^2" goes on as a product.
  const bool goes_on = tokens.at(1).is(Kind::kOperator, '_') || tokens.at(1).is(Kind::kOpen, '(');
  const std::string& unit = tokens.at().text;
  if (!is_unit(unit) && (!is_upright_unit(unit) || goes_on)) return false;
  return pool.is_number(so_far) || pool.is_constant(so_far);
}

}  // namespace zeroth::math
