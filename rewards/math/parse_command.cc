#include "rewards/math/parse_command.h"

#include <algorithm>
#include <array>

#include "rewards/math/arith.h"
#include "rewards/math/parse_atom.h"
#include "rewards/math/parse_environment.h"
#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_function.h"
#include "rewards/math/parse_group.h"
#include "rewards/math/parse_series.h"
#include "rewards/math/token_text.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

bool is_set_name(std::string_view name) {
  return name.size() == 1 && std::string_view("RZNQC").find(name[0]) != std::string_view::npos;
}

bool is_angle_sign(std::string_view name) {
  return name == "angle" || name == "triangle" || name == "measuredangle" ||
         name == "bigtriangleup";
}

bool is_accent(std::string_view name) {
  static constexpr auto kAccents = std::to_array<std::string_view>(
      {"overline", "bar", "hat", "vec", "tilde", "dot", "ddot", "widehat", "widetilde",
       "overrightarrow", "wideparen", "overparen", "overset", "underset", "stackrel", "overbrace"});
  return std::find(kAccents.begin(), kAccents.end(), name) != kAccents.end();
}

// Variant spellings of one letter.
std::string canonical_symbol(const std::string& name) {
  if (name == "varepsilon") return "epsilon";
  if (name == "varphi") return "phi";
  if (name == "vartheta") return "theta";
  if (name == "varrho") return "rho";
  if (name == "ell") return "l";
  if (name == "cdots" || name == "ldots" || name == "dotsc" || name == "dotsb" || name == "vdots")
    return "dots";
  return name;
}

// Lists and the like have no quotient.
bool cannot_divide(const Pool& pool, Ref ref) {
  return pool.is(ref, Op::kList) || pool.is(ref, Op::kTuple) || pool.is(ref, Op::kRelation) ||
         pool.is(ref, Op::kSet);
}

// The rules below stand behind the command's name.

Ref parse_fraction(ParseState& state) {
  Pool& pool = state.pool;
  const Ref top = parse_braced(state);
  const Ref bottom = top == kNoRef ? kNoRef : parse_braced(state);
  if (bottom == kNoRef) return kNoRef;
  if (pool.is(top, Op::kPercent) || pool.is(top, Op::kMatrix))
    return combine_mul(pool, pool.div(pool.integer(1), bottom), top);
  if (cannot_divide(pool, top) || cannot_divide(pool, bottom) || pool.is(bottom, Op::kMatrix))
    return kNoRef;
  return pool.div(top, bottom);
}

// \sqrt{2}, \sqrt[3]{2}
Ref parse_square_root(ParseState& state) {
  Pool& pool = state.pool;
  Ref degree = kNoRef;
  if (state.tokens.accept(Kind::kOpen, '[')) {
    degree = parse_sum(state);
    if (degree == kNoRef || !state.tokens.accept(Kind::kClose, ']')) return kNoRef;
  }
  const Ref radicand = parse_braced(state);
  if (radicand == kNoRef || pool.is(radicand, Op::kTuple) || pool.is(radicand, Op::kList))
    return kNoRef;
  return pool.root(radicand, degree == kNoRef ? pool.integer(2) : degree);
}

// \root 3 \of 2
Ref parse_root_of(ParseState& state) {
  const Ref degree = parse_braced(state);
  if (degree == kNoRef || !state.tokens.at_command("of")) return kNoRef;
  state.tokens.advance();
  const Ref radicand = parse_braced(state);
  return radicand == kNoRef ? kNoRef : state.pool.root(radicand, degree);
}

// \binom{n}{k}, binom(n, k)
Ref parse_binomial(ParseState& state) {
  if (state.tokens.accept(Kind::kOpen, '(')) {
    const std::vector<Ref> arguments = parse_members(state, ')');
    if (arguments.size() != 2 || !state.tokens.accept(Kind::kClose, ')')) return kNoRef;
    return state.pool.function(Function::kBinomial, arguments);
  }
  const Ref n = parse_braced(state);
  const Ref k = n == kNoRef ? kNoRef : parse_braced(state);
  return k == kNoRef ? kNoRef : state.pool.function(Function::kBinomial, {n, k});
}

// \mathbb{R}^+, \mathbb{Q}_{>0}
Ref parse_blackboard(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  std::string name = tokens.raw_group();
  if (!is_set_name(name)) return state.pool.symbol(name);
  while (tokens.at().is(Kind::kOperator, '^') || tokens.at().is(Kind::kOperator, '_')) {
    name += tokens.at().ch;
    tokens.advance();
    name += tokens.raw_group();
  }
  return special_set(state.pool, name);
}

// \bar{x}: a symbol of its own. \overline{AB} is a segment, named by its ends.
Ref parse_accent(ParseState& state, std::string accent) {
  if (accent == "overset" || accent == "underset" || accent == "stackrel") {
    state.tokens.raw_group();
    return parse_braced(state);
  }
  std::string inner = state.tokens.raw_group();
  std::erase(inner, '\\');
  if (inner.empty()) return kNoRef;
  if (accent == "widehat") accent = "hat";
  if (accent == "overline") accent = "bar";
  if (accent == "overrightarrow") accent = "vec";
  return state.pool.symbol(accent + "{" + inner + "}");
}

// A Greek letter, or a name that is not known.
Ref parse_named_symbol(ParseState& state, const std::string& name) {
  const std::string symbol = canonical_symbol(name) + state.tokens.scripts();
  if (state.functions.count(name) > 0 && state.tokens.at().is(Kind::kOpen, '('))
    return parse_call(state, symbol);
  return state.pool.symbol(symbol);
}

// Commands that stand for one value, whatever follows; kNoRef for others.
Ref constant_of(Pool& pool, std::string_view name) {
  if (name == "pi") return pool.leaf(Op::kPi);
  if (name == "imath") return pool.leaf(Op::kImaginary);
  if (name == "infty" || name == "infinity" || name == "inf") return pool.leaf(Op::kInfinity);
  if (name == "emptyset" || name == "varnothing") return special_set(pool, "empty");
  return kNoRef;
}

using Rule = Ref (*)(ParseState&);

// The rule of a command with arguments; nullptr for others.
Rule rule_of(std::string_view name) {
  if (is_fraction_command(name)) return parse_fraction;
  if (name == "sqrt") return parse_square_root;
  if (name == "root") return parse_root_of;
  if (name == "binom" || name == "tbinom" || name == "dbinom") return parse_binomial;
  if (name == "mathbb" || name == "Bbb") return parse_blackboard;
  if (name == "begin") return parse_environment;
  return nullptr;
}

}  // namespace

bool is_fraction_command(std::string_view name) {
  return name == "frac" || name == "dfrac" || name == "tfrac" || name == "cfrac";
}

Ref parse_command(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  const std::string name = tokens.at().text;
  const bool upright = tokens.at().upright;
  tokens.advance();
  if (const Rule rule = rule_of(name)) return rule(state);
  if (const Ref constant = constant_of(state.pool, name); constant != kNoRef) return constant;
  if (is_series_command(name)) return parse_series(state, name);
  if (is_function_command(name)) return parse_function(state, name);
  if (is_angle_sign(name)) {
    return starts_factor(state) ? parse_factor(state) : state.pool.symbol(name);
  }
  if (is_accent(name)) return parse_accent(state, name);
  if (upright && name.size() > 1 && tokens.at().is(Kind::kOpen, '('))
    return parse_call(state, name);
  return parse_named_symbol(state, name);
}

}  // namespace zeroth::math
