// Commands: functions, fractions, roots, sums, environments.
#include <algorithm>
#include <array>
#include <optional>

#include "rewards/math/parser.h"
#include "rewards/math/parser_depth.h"

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

// Variant spellings of one letter.
std::string canonical_symbol(std::string_view name) {
  if (name == "varepsilon") return "epsilon";
  if (name == "varphi") return "phi";
  if (name == "vartheta") return "theta";
  if (name == "varrho") return "rho";
  if (name == "ell") return "l";
  if (name == "cdots" || name == "ldots" || name == "dotsc" || name == "dotsb" || name == "vdots")
    return "dots";
  return std::string(name);
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

bool is_accent(std::string_view name) {
  static constexpr auto kAccents = std::to_array<std::string_view>(
      {"overline", "bar", "hat", "vec", "tilde", "dot", "ddot", "widehat", "widetilde",
       "overrightarrow", "wideparen", "overparen", "overset", "underset", "stackrel", "overbrace"});
  return std::find(kAccents.begin(), kAccents.end(), name) != kAccents.end();
}

}  // namespace

Ref Parser::command() {
  const std::string name = at().text;
  const bool upright = at().upright;
  ++pos_;
  if (name == "frac" || name == "dfrac" || name == "tfrac" || name == "cfrac") return fraction();
  if (name == "sqrt") return square_root();
  if (name == "root") {  // \root 3 \of 2
    Ref degree = braced();
    if (degree == kNoRef || !at().is(Kind::kCommand) || at().text != "of") return kNoRef;
    ++pos_;
    Ref radicand = braced();
    return radicand == kNoRef ? kNoRef : pool_.root(radicand, degree);
  }
  if (name == "cis") {
    Ref angle = function_argument();
    if (angle == kNoRef) return kNoRef;
    Ref sine = pool_.mul(pool_.function(Function::kSin, {angle}), pool_.leaf(Op::kImaginary));
    return pool_.add(pool_.function(Function::kCos, {angle}), sine);
  }
  if (name == "pi") return pool_.leaf(Op::kPi);
  if (name == "infty" || name == "infinity" || name == "inf") return pool_.leaf(Op::kInfinity);
  if (name == "binom" || name == "tbinom" || name == "dbinom") return binomial();
  if (name == "log" || name == "lg" || name == "ln") return logarithm(name == "ln");
  if (name == "exp") {
    Ref argument = function_argument();
    return argument == kNoRef ? kNoRef : pool_.pow(pool_.leaf(Op::kEuler), argument);
  }
  if (name == "begin") return environment();
  if (name == "sum" || name == "prod") return big_operator(name == "sum" ? Op::kSum : Op::kProduct);
  if (name == "int" || name == "iint" || name == "oint" || name == "lim" || name == "limsup" ||
      name == "liminf") {
    return opaque_operator(name);
  }
  if (name == "mathbb" || name == "Bbb") {
    std::string set = raw_group();
    if (set.size() != 1 || std::string("RZNQC").find(set[0]) == std::string::npos)
      return pool_.symbol(set);
    while (at().is(Kind::kOperator, '^') || at().is(Kind::kOperator, '_')) {  // R^+, Q_{>0}
      set += at().ch;
      ++pos_;
      set += raw_group();
    }
    return pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern(set));
  }
  if (name == "emptyset" || name == "varnothing") {
    return pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern("empty"));
  }
  if (name == "angle" || name == "triangle" || name == "measuredangle" || name == "bigtriangleup") {
    return starts_factor() ? factor() : pool_.symbol(name);
  }
  if (name == "imath") return pool_.leaf(Op::kImaginary);
  if (is_accent(name)) return overline();
  if (auto f = function_of(name)) return function_command(*f);
  if (upright && name.size() > 1 && at().is(Kind::kOpen, '(')) return call(name);
  --pos_;
  // A Greek letter, or a name that we do not know: a symbol.
  std::string symbol = canonical_symbol(name);
  ++pos_;
  while (at().is(Kind::kOperator, '_') || at().is(Kind::kOperator, '\'')) {
    if (at().ch == '\'') {
      symbol += '\'';
      ++pos_;
    } else {
      ++pos_;
      symbol += "_" + subscript_text();
    }
  }
  if (calls_.count(name) > 0 && at().is(Kind::kOpen, '(')) return call(symbol);
  return pool_.symbol(symbol);
}

// \bar{x}: a symbol of its own. \overline{AB} is a segment, named by its ends.
Ref Parser::overline() {
  std::string accent = tokens_[pos_ - 1].text;
  if (accent == "overset" || accent == "underset" || accent == "stackrel") {
    raw_group();
    return braced();
  }
  std::string inner = raw_group();
  std::erase(inner, '\\');
  if (inner.empty()) return kNoRef;
  if (accent == "widehat") accent = "hat";
  if (accent == "overline") accent = "bar";
  if (accent == "overrightarrow") accent = "vec";
  return pool_.symbol(accent + "{" + inner + "}");
}

// sin x, sin(x), sin^2 x, sin^{-1} x
Ref Parser::function_command(Function f) {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth) return kNoRef;
  Ref power = kNoRef;
  if (at().is(Kind::kOperator, '^')) {
    ++pos_;
    power = exponent();
    if (power == kNoRef || pool_.is(power, Op::kText)) return kNoRef;
    if (pool_.is_number(power) && pool_.value(power) == Rational(-1)) {
      auto inverse = inverse_of(f);
      if (!inverse) return kNoRef;
      f = *inverse;
      power = kNoRef;
    }
  }
  bool many =
      f == Function::kGcd || f == Function::kLcm || f == Function::kMax || f == Function::kMin;
  if (many && at().is(Kind::kOperator, '_')) {  // \max_{x}
    ++pos_;
    raw_group();
  }
  if (many) {
    std::vector<Ref> args;
    Kind close = Kind::kClose;
    if (at().is(Kind::kOpen, '(') || at().is(Kind::kOpen, 'S') || at().is(Kind::kOpen, '{')) {
      char open = at().ch;
      ++pos_;
      bool set = std::exchange(in_set_, open == 'S');
      args = elements_until(close, open == '(' ? ')' : open == 'S' ? 'S' : '}');
      in_set_ = set;
      if (args.empty() || !at().is(close)) return kNoRef;
      ++pos_;
    } else {
      return pool_.symbol(f == Function::kMax ? "max" : f == Function::kMin ? "min" : "gcd");
    }
    return pool_.function(f, args);
  }
  Ref argument = function_argument();
  if (argument == kNoRef) return kNoRef;
  if (pool_.is(argument, Op::kTuple) || pool_.is(argument, Op::kList)) return kNoRef;
  if (f == Function::kDet && pool_.is(argument, Op::kMatrix)) return determinant(pool_, argument);
  Ref value = pool_.function(f, {argument});
  return power == kNoRef ? value : pool_.pow(value, power);
}

// In brackets or braces, or the product that follows up to the next function or sign.
Ref Parser::function_argument() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth || pool_.full()) return kNoRef;
  if (at().is(Kind::kOpen, '(') || at().is(Kind::kOpen, '[')) return open_group();
  bool braces = at().is(Kind::kOpen, '{');
  bool negative = false;
  if (at().is(Kind::kOperator, '-')) {
    negative = true;
    ++pos_;
  }
  Ref product = factor();
  if (product == kNoRef || braces) return product;
  while (starts_factor() && !at().is(Kind::kOpen) && !at().is(Kind::kBar)) {
    bool function = at().is(Kind::kCommand) &&
                    (function_of(at().text) || at().text == "log" || at().text == "ln");
    if (function || stops_for_unit(product)) break;
    // sin x e^{-x} and ln x sqrt x are products.
    const bool power_of_e =
        at().is(Kind::kLetter) && at().text == "e" && at(1).is(Kind::kOperator, '^');
    const bool root = at().is(Kind::kCommand) && at().text == "sqrt";
    if ((power_of_e || root) && !pool_.is_constant(product)) break;
    Ref next = factor();
    if (next == kNoRef) return kNoRef;
    product = combine_mul(pool_, product, next);
    if (product == kNoRef) return kNoRef;
  }
  if (at().is(Kind::kOperator, '/') && at(1).is(Kind::kNumber)) {  // sin pi/6
    ++pos_;
    Ref divisor = primary();
    if (divisor == kNoRef) return kNoRef;
    product = pool_.div(product, divisor);
  }
  return negative ? pool_.neg(product) : product;
}

Ref Parser::logarithm(bool natural) {
  Ref base = natural ? pool_.leaf(Op::kEuler) : pool_.integer(10);
  Ref power = kNoRef;
  while (at().is(Kind::kOperator, '_') || at().is(Kind::kOperator, '^')) {
    bool sub = at().ch == '_';
    ++pos_;
    Ref script = sub ? braced() : exponent();
    if (script == kNoRef || pool_.is(script, Op::kText)) return kNoRef;
    (sub ? base : power) = script;
  }
  Ref argument = function_argument();
  if (argument == kNoRef || pool_.is(argument, Op::kTuple)) return kNoRef;
  Ref value = pool_.function(Function::kLog, {argument, base});
  return power == kNoRef ? value : pool_.pow(value, power);
}

Ref Parser::fraction() {
  Ref top = braced();
  if (top == kNoRef) return kNoRef;
  Ref bottom = braced();
  if (bottom == kNoRef) return kNoRef;
  if (pool_.is(top, Op::kPercent) || pool_.is(top, Op::kMatrix)) {
    return combine_mul(pool_, pool_.div(pool_.integer(1), bottom), top);
  }
  switch (pool_[top].op) {
    case Op::kList:
    case Op::kTuple:
    case Op::kRelation:
    case Op::kSet:
      return kNoRef;
    default:
      break;
  }
  switch (pool_[bottom].op) {
    case Op::kList:
    case Op::kTuple:
    case Op::kRelation:
    case Op::kSet:
    case Op::kMatrix:
      return kNoRef;
    default:
      return pool_.div(top, bottom);
  }
}

Ref Parser::square_root() {
  Ref degree = kNoRef;
  if (at().is(Kind::kOpen, '[')) {
    ++pos_;
    degree = additive();
    if (degree == kNoRef || !accept(Kind::kClose, ']')) return kNoRef;
  }
  Ref radicand = braced();
  if (radicand == kNoRef || pool_.is(radicand, Op::kTuple) || pool_.is(radicand, Op::kList))
    return kNoRef;
  return pool_.root(radicand, degree == kNoRef ? pool_.integer(2) : degree);
}

Ref Parser::binomial() {
  if (at().is(Kind::kOpen, '(')) {
    ++pos_;
    std::vector<Ref> args = elements_until(Kind::kClose, ')');
    if (args.size() != 2 || !accept(Kind::kClose, ')')) return kNoRef;
    return pool_.function(Function::kBinomial, args);
  }
  Ref n = braced();
  if (n == kNoRef) return kNoRef;
  Ref k = braced();
  if (k == kNoRef) return kNoRef;
  return pool_.function(Function::kBinomial, {n, k});
}

// \sum_{k=a}^{b} body
Ref Parser::big_operator(Op op) {
  Ref lower = kNoRef, upper = kNoRef;
  for (int i = 0; i < 2; ++i) {
    if (at().is(Kind::kOperator, '_')) {
      ++pos_;
      lower = braced();
      if (lower == kNoRef) return kNoRef;
    } else if (at().is(Kind::kOperator, '^')) {
      ++pos_;
      upper = braced();
      if (upper == kNoRef) return kNoRef;
    }
  }
  Ref body = term();
  if (body == kNoRef) return kNoRef;
  bool bounded = lower != kNoRef && upper != kNoRef && pool_.is(lower, Op::kRelation) &&
                 pool_.name(lower) == "=" && pool_[lower].count == 2;
  if (!bounded) {
    std::vector<Ref> parts{body};
    if (lower != kNoRef) parts.push_back(lower);
    if (upper != kNoRef) parts.push_back(upper);
    return pool_.make(Op::kOpaque, parts, pool_.intern(op == Op::kSum ? "sum" : "prod"));
  }
  Ref variable = pool_.child(lower, 0), from = pool_.child(lower, 1);
  if (pool_.is(variable, Op::kImaginary)) {  // the index i is no imaginary unit
    variable = pool_.symbol("i");
    body = replace_imaginary(pool_, body, variable);
  }
  if (body == kNoRef || !pool_.is(variable, Op::kSymbol)) return kNoRef;
  return pool_.make(op, {body, variable, from, upper});
}

// Integrals and limits are compared as written.
Ref Parser::opaque_operator(const std::string& name) {
  std::vector<Ref> parts;
  for (int i = 0; i < 2; ++i) {
    if (!at().is(Kind::kOperator, '_') && !at().is(Kind::kOperator, '^')) break;
    ++pos_;
    if (name == "int" || name == "oint" || name == "iint") {
      Ref bound = braced();
      if (bound == kNoRef) return kNoRef;
      parts.push_back(bound);
    } else {
      parts.push_back(pool_.text(raw_group()));
    }
  }
  Ref body = term();
  if (body == kNoRef) return kNoRef;
  parts.push_back(body);
  return pool_.make(Op::kOpaque, parts, pool_.intern(name));
}

// Matrices, cases and aligned rows.
Ref Parser::environment() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth) return kNoRef;
  std::string name = raw_group();
  std::erase(name, '*');
  if (name == "array" || name == "tabular") raw_group();
  bool matrix = name.ends_with("matrix") || name == "array" || name == "tabular";
  bool rows_only = name == "cases" || name == "aligned" || name == "align" || name == "gathered" ||
                   name == "split" || name == "gather" || name == "equation" ||
                   name == "eqnarray" || name == "dcases";
  if (!matrix && !rows_only) return kNoRef;
  std::vector<Ref> cells;
  int columns = 0, in_row = 0, rows = 0;
  auto end_row = [&] {
    if (in_row == 0) return true;
    if (columns == 0) columns = in_row;
    bool even = columns == in_row;
    in_row = 0;
    ++rows;
    return even;
  };
  while (true) {
    if (done() || pool_.full() || static_cast<int>(cells.size()) > pool_.budget().set_elements)
      return kNoRef;
    if (at().is(Kind::kCommand) && at().text == "end") {
      ++pos_;
      raw_group();
      break;
    }
    if (at().is(Kind::kSeparator, 'n')) {
      ++pos_;
      if (!end_row() && matrix) return kNoRef;
      continue;
    }
    if (at().is(Kind::kCell) || at().is(Kind::kSeparator)) {
      ++pos_;
      continue;
    }
    if (rows_only && in_row == 1 && (at().text == "otherwise" || at().text == "else")) {
      cells.push_back(pool_.text("otherwise"));
      ++in_row;
    }
    while (rows_only && at().is(Kind::kWord)) ++pos_;  // "if", "for"
    if (at().is(Kind::kCell) || at().is(Kind::kSeparator) ||
        (at().is(Kind::kCommand) && at().text == "end"))
      continue;
    Ref cell = relation_chain();
    if (cell == kNoRef) return kNoRef;
    if (rows_only && at().is(Kind::kWord)) {  // "n is even": a condition in words
      const size_t begin = pos_ - 1;
      while (at().is(Kind::kWord) || (at().is(Kind::kLetter) && at().upright)) ++pos_;
      if (in_row == 1) cell = text_between(begin, pos_);
    }
    cells.push_back(cell);
    ++in_row;
  }
  bool even = end_row();
  if (cells.empty()) return kNoRef;
  if (rows_only) {
    if (columns == 1 && even) return cells.size() == 1 ? cells[0] : pool_.make(Op::kList, cells);
    const bool pairs = columns == 2 && even;
    return pool_.make(Op::kOpaque, cells, pool_.intern("cases"), pairs ? kCasesFlag : 0);
  }
  if (!even) return kNoRef;
  if (name == "vmatrix") {
    Ref det = determinant(pool_, pool_.make(Op::kMatrix, cells, columns));
    if (det != kNoRef) return det;
  }
  return pool_.make(Op::kMatrix, cells, columns);
}

}  // namespace zeroth::math
