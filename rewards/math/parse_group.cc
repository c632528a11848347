#include "rewards/math/parse_group.h"

#include "rewards/math/arith.h"
#include "rewards/math/bases.h"
#include "rewards/math/decimals.h"
#include "rewards/math/parse_atom.h"
#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_relation.h"
#include "rewards/math/parse_remarks.h"
#include "rewards/math/token_text.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Members between brackets inside which neither bars nor a set are open.
std::vector<Ref> parse_fresh_members(ParseState& state, char close) {
  const Replaced<int> bars(state.open_bars, 0);
  const Replaced<bool> set(state.in_set, false);
  return parse_members(state, close);
}

Ref parse_floor_or_ceiling(ParseState& state, char open) {
  Ref inner = kNoRef;
  {
    const Replaced<int> bars(state.open_bars, 0);
    inner = parse_sum(state);
  }
  if (inner == kNoRef || !state.tokens.accept(Kind::kClose, open)) return kNoRef;
  return state.pool.function(open == 'F' ? Function::kFloor : Function::kCeil, {inner});
}

// { .. } in a formula: grouping, or a list.
Ref parse_brace_group(ParseState& state) {
  if (state.tokens.accept(Kind::kClose, '}')) {  // {} prints nothing
    const bool factor = starts_factor(state) || state.tokens.at().is(Kind::kNumber);
    return factor ? parse_factor(state) : kNoRef;
  }
  const std::vector<Ref> parts = parse_fresh_members(state, '}');
  if (parts.empty() || !state.tokens.accept(Kind::kClose, '}')) return kNoRef;
  return parts.size() == 1 ? parts[0] : state.pool.make(Op::kList, parts);
}

// (101)_2, at the subscript.
Ref parse_base_behind_bracket(ParseState& state) {
  const std::string digits = state.tokens.before(2).text;
  state.tokens.advance();
  const int base = base_of(state.tokens.raw_group());
  if (base == 0 || !all_digits(digits)) return kNoRef;
  return based_number(state.pool, digits, base);
}

// ( .. ), [ .. ], < .. >: grouping, a tuple or an interval.
Ref parse_bracket_group(ParseState& state, char open) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  const std::vector<Ref> parts = parse_fresh_members(state, '\0');
  if (parts.empty() || !tokens.at().is(Kind::kClose)) return kNoRef;
  const char close = tokens.at().ch;
  if (close != ')' && close != ']' && close != 'A') return kNoRef;
  tokens.advance();
  const bool matched = (open == '(' && close == ')') || (open == '[' && close == ']') ||
                       (open == 'A' && close == 'A');
  if (parts.size() == 1) {
    if (!matched) return kNoRef;
    const bool based = tokens.at().is(Kind::kOperator, '_') && pool.is_number(parts[0]) &&
                       tokens.before(2).is(Kind::kNumber);
    return based ? parse_base_behind_bracket(state) : parts[0];
  }
  if (parts.size() == 2 && (open == '[' || close == ']')) {
    if (open == 'A' || close == 'A') return kNoRef;
    const auto flag =
        static_cast<uint8_t>((open == '(' ? kOpenLeft : 0) | (close == ')' ? kOpenRight : 0));
    return pool.make(Op::kInterval, parts, 0, flag);
  }
  // Members with an open sign make several tuples; that is for expand_signs.
  return matched ? pool.make(Op::kTuple, parts) : kNoRef;
}

// The rest of a set or set-builder behind its first member: the members up to "\}". False when it
// is neither. `joined`: see parse_members().
bool parse_rest_of_set(ParseState& state, Op op, std::vector<Ref>* members, uint8_t* joined) {
  const std::vector<Ref> rest = parse_members(state, 'S', joined);
  if (op == Op::kSetBuilder && rest.empty()) return false;  // no condition
  if (!state.tokens.accept(Kind::kClose, 'S')) return false;
  members->insert(members->end(), rest.begin(), rest.end());
  return true;
}

// \{ .. \} with members, or \{ x | condition \}.
Ref parse_set_group(ParseState& state) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  const Replaced<int> bars(state.open_bars, 0);
  const Replaced<bool> set(state.in_set, true);
  if (tokens.accept(Kind::kClose, 'S')) return special_set(pool, "empty");
  const Ref first = parse_relation(state);
  if (first == kNoRef) return kNoRef;
  Op op = Op::kSet;
  if (tokens.at().is(Kind::kBar, '|') || tokens.at().is(Kind::kOperator, ':')) {
    op = Op::kSetBuilder;
    tokens.advance();
  } else if (!tokens.at().is(Kind::kSeparator) && !tokens.at().is(Kind::kClose, 'S')) {
    return kNoRef;
  }
  std::vector<Ref> members{first};
  uint8_t joined = 0;
  if (!parse_rest_of_set(state, op, &members, &joined)) return kNoRef;
  return op == Op::kSet ? pool.make(op, members) : pool.make(op, members, 0, joined);
}

}  // namespace

uint8_t joined_by(const Token& separator) {
  return separator.ch == 'o' ? kJoinedByOr : separator.ch == '&' ? kJoinedByAnd : 0;
}

std::vector<Ref> parse_members(ParseState& state, char close, uint8_t* joined) {
  const TokenCursor& tokens = state.tokens;
  const auto closes = [&] {
    return tokens.done() ||
           (tokens.at().is(Kind::kClose) && (close == '\0' || tokens.at().ch == close));
  };
  std::vector<Ref> members;
  while (!closes()) {
    if (tokens.at().is(Kind::kSeparator)) {
      if (joined != nullptr) *joined |= joined_by(tokens.at());
      state.tokens.advance();
      continue;
    }
    if (static_cast<int>(members.size()) > state.pool.budget().set_elements || state.pool.full())
      return {};
    const Ref member = parse_relation(state);
    if (member == kNoRef) return {};
    if (tokens.at().is(Kind::kWord) && !skip_trailing_words(state)) return {};
    members.push_back(member);
    if (!closes() && !tokens.at().is(Kind::kSeparator)) return {};
  }
  return members;
}

Ref parse_group(ParseState& state) {
  const char open = state.tokens.at().ch;
  state.tokens.advance();
  switch (open) {
    case 'S':
      return parse_set_group(state);
    case 'F':
    case 'C':
      return parse_floor_or_ceiling(state, open);
    case '{':
      return parse_brace_group(state);
    default:
      return parse_bracket_group(state, open);
  }
}

Ref parse_bars(ParseState& state) {
  Pool& pool = state.pool;
  const char kind = state.tokens.at().ch;
  state.tokens.advance();
  Ref inner = kNoRef;
  {
    const Replaced<int> bars(state.open_bars, state.open_bars + 1);
    const Replaced<bool> set(state.in_set, false);
    inner = parse_sum(state);
  }
  if (inner == kNoRef || !state.tokens.accept(Kind::kBar, kind)) return kNoRef;
  if (kind == 'N') return pool.make(Op::kOpaque, {inner}, pool.intern("norm"));
  if (pool.is(inner, Op::kMatrix)) return determinant(pool, inner);
  return pool.function(Function::kAbs, {inner});
}

Ref parse_braced(ParseState& state) {
  Nesting nesting(state);
  if (state.depth > state.pool.budget().depth) return kNoRef;
  if (!state.tokens.accept(Kind::kOpen, '{')) return parse_atom(state);
  std::vector<Ref> parts;
  {
    const Replaced<int> bars(state.open_bars, 0);
    parts = parse_members(state, '}');
  }
  if (parts.size() != 1 || !state.tokens.accept(Kind::kClose, '}')) return kNoRef;
  return parts[0];
}

}  // namespace zeroth::math
