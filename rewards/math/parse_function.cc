#include "rewards/math/parse_function.h"

#include <array>
#include <optional>

#include "rewards/math/arith.h"
#include "rewards/math/parse_atom.h"
#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_group.h"
#include "rewards/math/parse_power.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

struct NamedFunction {
  std::string_view name;
  Function function;
};

constexpr auto kFunctions = std::to_array<NamedFunction>({
    {"sin", Function::kSin},        {"cos", Function::kCos},        {"tan", Function::kTan},
    {"tg", Function::kTan},         {"cot", Function::kCot},        {"ctg", Function::kCot},
    {"sec", Function::kSec},        {"csc", Function::kCsc},        {"cosec", Function::kCsc},
    {"arcsin", Function::kArcsin},  {"arccos", Function::kArccos},  {"arctan", Function::kArctan},
    {"arctg", Function::kArctan},   {"asin", Function::kArcsin},    {"acos", Function::kArccos},
    {"atan", Function::kArctan},    {"arccot", Function::kArccot},  {"arcsec", Function::kArcsec},
    {"arccsc", Function::kArccsc},  {"sinh", Function::kSinh},      {"cosh", Function::kCosh},
    {"tanh", Function::kTanh},      {"coth", Function::kCoth},      {"sech", Function::kSech},
    {"csch", Function::kCsch},      {"sh", Function::kSinh},        {"ch", Function::kCosh},
    {"th", Function::kTanh},        {"arsinh", Function::kArsinh},  {"arcosh", Function::kArcosh},
    {"artanh", Function::kArtanh},  {"arcsinh", Function::kArsinh}, {"arccosh", Function::kArcosh},
    {"arctanh", Function::kArtanh}, {"asinh", Function::kArsinh},   {"acosh", Function::kArcosh},
    {"atanh", Function::kArtanh},   {"floor", Function::kFloor},    {"ceil", Function::kCeil},
    {"gcd", Function::kGcd},        {"lcm", Function::kLcm},        {"max", Function::kMax},
    {"min", Function::kMin},        {"abs", Function::kAbs},        {"Gamma", Function::kGamma},
    {"Re", Function::kRe},          {"Im", Function::kIm},          {"det", Function::kDet},
    {"conj", Function::kConj},
});

std::optional<Function> function_of(std::string_view name) {
  for (const NamedFunction& f : kFunctions) {
    if (f.name == name) return f.function;
  }
  return std::nullopt;
}

std::optional<Function> inverse_of(Function f) {
  switch (f) {
    case Function::kSin:
      return Function::kArcsin;
    case Function::kCos:
      return Function::kArccos;
    case Function::kTan:
      return Function::kArctan;
    case Function::kCot:
      return Function::kArccot;
    case Function::kSec:
      return Function::kArcsec;
    case Function::kCsc:
      return Function::kArccsc;
    case Function::kSinh:
      return Function::kArsinh;
    case Function::kCosh:
      return Function::kArcosh;
    case Function::kTanh:
      return Function::kArtanh;
    default:
      return std::nullopt;
  }
}

bool is_logarithm(std::string_view name) { return name == "log" || name == "lg" || name == "ln"; }

bool takes_many(Function f) {
  return f == Function::kGcd || f == Function::kLcm || f == Function::kMax || f == Function::kMin;
}

// In sin x cos y, and in sin x e^{-x} and ln x sqrt x, the argument ends before the next factor.
bool ends_argument(const ParseState& state, Ref so_far) {
  const TokenCursor& tokens = state.tokens;
  const Token& t = tokens.at();
  const bool function =
      t.is(Kind::kCommand) && (function_of(t.text) || t.text == "log" || t.text == "ln");
  if (function || stops_for_unit(state, so_far)) return true;
  const bool power_of_e =
      t.is(Kind::kLetter) && t.text == "e" && tokens.at(1).is(Kind::kOperator, '^');
  return (power_of_e || tokens.at_command("sqrt")) && !state.pool.is_constant(so_far);
}

// In brackets or braces, or the product that follows up to the next function or sign.
Ref parse_argument(ParseState& state) {
  Nesting nesting(state);
  if (state.over_budget()) return kNoRef;
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  if (tokens.at().is(Kind::kOpen, '(') || tokens.at().is(Kind::kOpen, '['))
    return parse_group(state);
  const bool braces = tokens.at().is(Kind::kOpen, '{');
  const bool negative = tokens.accept(Kind::kOperator, '-');
  Ref product = parse_factor(state);
  if (product == kNoRef || braces) return product;
  while (starts_factor(state) && !tokens.at().is(Kind::kOpen) && !tokens.at().is(Kind::kBar)) {
    if (ends_argument(state, product)) break;
    const Ref next = parse_factor(state);
    product = next == kNoRef ? kNoRef : combine_mul(pool, product, next);
    if (product == kNoRef) return kNoRef;
  }
  if (tokens.at().is(Kind::kOperator, '/') && tokens.at(1).is(Kind::kNumber)) {  // sin pi/6
    tokens.advance();
    const Ref divisor = parse_atom(state);
    if (divisor == kNoRef) return kNoRef;
    product = pool.div(product, divisor);
  }
  return negative ? pool.neg(product) : product;
}

// \max(a, b), \gcd\{a, b\}; the bare name is a symbol.
Ref parse_many(ParseState& state, Function f) {
  TokenCursor& tokens = state.tokens;
  if (tokens.accept(Kind::kOperator, '_')) tokens.raw_group();  // \max_{x}
  const char open = tokens.at().ch;
  if (!tokens.at().is(Kind::kOpen) || (open != '(' && open != 'S' && open != '{'))
    return state.pool.symbol(f == Function::kMax ? "max" : f == Function::kMin ? "min" : "gcd");
  tokens.advance();
  const char close = open == '(' ? ')' : open == 'S' ? 'S' : '}';
  std::vector<Ref> arguments;
  {
    const Replaced<bool> set(state.in_set, open == 'S');
    arguments = parse_members(state, close);
  }
  if (arguments.empty() || !tokens.at().is(Kind::kClose)) return kNoRef;
  tokens.advance();
  return state.pool.function(f, arguments);
}

// \sin and the like, behind the name.
Ref parse_named_function(ParseState& state, Function f) {
  Nesting nesting(state);
  if (state.depth > state.pool.budget().depth) return kNoRef;
  Pool& pool = state.pool;
  Ref power = kNoRef;
  if (state.tokens.accept(Kind::kOperator, '^')) {
    power = parse_power_exponent(state);
    if (power == kNoRef) return kNoRef;
    if (pool.is_number(power) && pool.value(power) == Rational(-1)) {
      const auto inverse = inverse_of(f);
      if (!inverse) return kNoRef;
      f = *inverse;
      power = kNoRef;
    }
  }
  if (takes_many(f)) return parse_many(state, f);
  const Ref argument = parse_argument(state);
  if (argument == kNoRef || pool.is(argument, Op::kTuple) || pool.is(argument, Op::kList))
    return kNoRef;
  if (f == Function::kDet && pool.is(argument, Op::kMatrix)) return determinant(pool, argument);
  const Ref value = pool.function(f, {argument});
  return power == kNoRef ? value : pool.pow(value, power);
}

Ref parse_logarithm(ParseState& state, Ref base) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  Ref power = kNoRef;
  while (tokens.at().is(Kind::kOperator, '_') || tokens.at().is(Kind::kOperator, '^')) {
    const bool subscript = tokens.at().ch == '_';
    tokens.advance();
    const Ref script = subscript ? parse_braced(state) : parse_power_exponent(state);
    if (script == kNoRef) return kNoRef;
    (subscript ? base : power) = script;
  }
  const Ref argument = parse_argument(state);
  if (argument == kNoRef || pool.is(argument, Op::kTuple)) return kNoRef;
  const Ref value = pool.function(Function::kLog, {argument, base});
  return power == kNoRef ? value : pool.pow(value, power);
}

// cis x = cos x + i sin x
Ref parse_cis(ParseState& state) {
  Pool& pool = state.pool;
  const Ref angle = parse_argument(state);
  if (angle == kNoRef) return kNoRef;
  const Ref sine = pool.mul(pool.function(Function::kSin, {angle}), pool.leaf(Op::kImaginary));
  return pool.add(pool.function(Function::kCos, {angle}), sine);
}

Ref parse_exponential(ParseState& state) {
  const Ref argument = parse_argument(state);
  return argument == kNoRef ? kNoRef : state.pool.pow(state.pool.leaf(Op::kEuler), argument);
}

}  // namespace

bool is_function_command(std::string_view name) {
  return is_logarithm(name) || name == "cis" || name == "exp" || function_of(name);
}

Ref parse_function(ParseState& state, std::string_view name) {
  Pool& pool = state.pool;
  if (name == "cis") return parse_cis(state);
  if (name == "exp") return parse_exponential(state);
  if (is_logarithm(name))
    return parse_logarithm(state, name == "ln" ? pool.leaf(Op::kEuler) : pool.integer(10));
  const auto f = function_of(name);
  return f ? parse_named_function(state, *f) : kNoRef;
}

}  // namespace zeroth::math
