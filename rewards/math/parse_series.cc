#include "rewards/math/parse_series.h"

#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_group.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

bool is_integral(std::string_view name) {
  return name == "int" || name == "iint" || name == "oint";
}

bool is_limit(std::string_view name) {
  return name == "lim" || name == "limsup" || name == "liminf";
}

bool at_script(const TokenCursor& tokens) {
  return tokens.at().is(Kind::kOperator, '_') || tokens.at().is(Kind::kOperator, '^');
}

// The tree with every imaginary unit replaced; kNoRef when the pool is full.
Ref replace_imaginary(Pool& pool, Ref ref, Ref symbol) {
  if (pool.full()) return kNoRef;
  if (pool.is(ref, Op::kImaginary)) return symbol;
  if (!pool.contains(ref, Op::kImaginary)) return ref;
  std::vector<Ref> kids = pool.copy_children(ref);
  for (Ref& kid : kids) {
    kid = replace_imaginary(pool, kid, symbol);
    if (kid == kNoRef) return kNoRef;
  }
  return pool.rebuild(ref, kids);
}

// \sum_{k=a}^{b} body
Ref parse_sum_or_product(ParseState& state, Op op) {
  Pool& pool = state.pool;
  Ref lower = kNoRef, upper = kNoRef;
  for (int i = 0; i < 2 && at_script(state.tokens); ++i) {
    Ref& bound = state.tokens.at().ch == '_' ? lower : upper;
    state.tokens.advance();
    bound = parse_braced(state);
    if (bound == kNoRef) return kNoRef;
  }
  Ref body = parse_product(state);
  if (body == kNoRef) return kNoRef;
  const bool bounded = lower != kNoRef && upper != kNoRef && pool.is(lower, Op::kRelation) &&
                       pool.name(lower) == "=" && pool[lower].count == 2;
  if (!bounded) {
    std::vector<Ref> parts{body};
    if (lower != kNoRef) parts.push_back(lower);
    if (upper != kNoRef) parts.push_back(upper);
    return pool.make(Op::kOpaque, parts, pool.intern(op == Op::kSum ? "sum" : "prod"));
  }
  Ref index = pool.child(lower, 0);
  const Ref from = pool.child(lower, 1);
  if (pool.is(index, Op::kImaginary)) {  // the index i is no imaginary unit
    index = pool.symbol("i");
    body = replace_imaginary(pool, body, index);
  }
  if (body == kNoRef || !pool.is(index, Op::kSymbol)) return kNoRef;
  return pool.make(op, {body, index, from, upper});
}

// Integrals and limits.
Ref parse_opaque(ParseState& state, std::string_view name) {
  Pool& pool = state.pool;
  std::vector<Ref> parts;
  for (int i = 0; i < 2 && at_script(state.tokens); ++i) {
    state.tokens.advance();
    const Ref script =
        is_integral(name) ? parse_braced(state) : pool.text(state.tokens.raw_group());
    if (script == kNoRef) return kNoRef;
    parts.push_back(script);
  }
  const Ref body = parse_product(state);
  if (body == kNoRef) return kNoRef;
  parts.push_back(body);
  return pool.make(Op::kOpaque, parts, pool.intern(name));
}

}  // namespace

bool is_series_command(std::string_view name) {
  return name == "sum" || name == "prod" || is_integral(name) || is_limit(name);
}

Ref parse_series(ParseState& state, std::string_view name) {
  if (name == "sum") return parse_sum_or_product(state, Op::kSum);
  if (name == "prod") return parse_sum_or_product(state, Op::kProduct);
  return parse_opaque(state, name);
}

}  // namespace zeroth::math
