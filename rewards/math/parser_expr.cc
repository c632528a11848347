// Set operations, sums, products and powers.
#include "rewards/math/parser.h"
#include "rewards/math/parser_depth.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

bool is_set_like(const Pool& pool, Ref ref) {
  switch (pool[ref].op) {
    case Op::kInterval:
    case Op::kSet:
    case Op::kSetBuilder:
    case Op::kUnion:
    case Op::kIntersection:
    case Op::kDifference:
    case Op::kSpecialSet:
    case Op::kTuple:
      return true;
    default:
      return false;
  }
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

}  // namespace

// operand (cup | cap | setminus) operand ..; left to right. A "U" between brackets is a union.
Ref Parser::set_expression() {
  Ref left = additive();
  if (left != kNoRef && at().is(Kind::kCommand) && (at().text == "over" || at().text == "choose")) {
    const bool fraction = at().text == "over";
    ++pos_;
    Ref right = additive();
    if (right == kNoRef || !is_plain(pool_, left) || !is_plain(pool_, right)) return kNoRef;
    left = fraction ? pool_.div(left, right) : pool_.function(Function::kBinomial, {left, right});
  }
  while (left != kNoRef) {
    Op op;
    if (at().is(Kind::kCommand) &&
        (at().text == "cup" || at().text == "bigcup" || at().text == "cupdot")) {
      op = Op::kUnion;
    } else if (at().is(Kind::kCommand) && (at().text == "cap" || at().text == "bigcap")) {
      op = Op::kIntersection;
    } else if (at().is(Kind::kCommand) && (at().text == "setminus" || at().text == "backslash")) {
      op = Op::kDifference;
    } else if (at().is(Kind::kLetter) && at().text == "U" && is_set_like(pool_, left) &&
               at(1).is(Kind::kOpen)) {
      op = Op::kUnion;
    } else {
      break;
    }
    ++pos_;
    Ref right = additive();
    if (right == kNoRef) return kNoRef;
    left = pool_.make(op, {left, right});
  }
  return left;
}

Ref Parser::additive() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth || pool_.full()) return kNoRef;
  Ref left = term();
  while (left != kNoRef && at().is(Kind::kOperator)) {
    char op = at().ch;
    if (op != '+' && op != '-' && op != 'P' && op != 'M') break;
    ++pos_;
    if (pool_.full()) return kNoRef;
    Ref right = term();
    if (right == kNoRef) return kNoRef;
    if (op == '-' && is_set_like(pool_, left) && is_set_like(pool_, right) &&
        !(pool_.is(left, Op::kTuple) && pool_.is(right, Op::kTuple))) {
      left = pool_.make(Op::kDifference, {left, right});
      continue;
    }
    if (op == '-') right = combine_mul(pool_, pool_.integer(-1), right);
    if (op == 'P' || op == 'M')
      right = pool_.make(op == 'P' ? Op::kPlusMinus : Op::kMinusPlus, {right});
    left = right == kNoRef ? kNoRef : combine_add(pool_, left, right);
  }
  return left;
}

// Factors joined by explicit *, / and the ratio sign; juxtaposition binds tighter, as in 1/2x =
// 1/(2x).
Ref Parser::term() {
  Ref left = signed_factor();
  while (left != kNoRef && at().is(Kind::kOperator)) {
    char op = at().ch;
    if (op != '*' && op != '/' && (op != ':' || in_set_)) break;
    ++pos_;
    Ref right = signed_factor();
    if (right == kNoRef || pool_.full()) return kNoRef;
    if (op == ':') {
      std::vector<Ref> parts =
          pool_.is(left, Op::kRatio) ? pool_.copy_children(left) : std::vector<Ref>{left};
      parts.push_back(right);
      left = pool_.make(Op::kRatio, parts);
    } else if (op == '*') {
      left = combine_mul(pool_, left, right);
    } else if (pool_.is(left, Op::kMatrix) || pool_.is(left, Op::kPercent)) {
      left = combine_mul(pool_, pool_.div(pool_.integer(1), right), left);
    } else {
      left = pool_.div(left, right);
    }
  }
  return left;
}

Ref Parser::signed_factor() {
  bool negative = false;
  while (at().is(Kind::kOperator, '+') || at().is(Kind::kOperator, '-')) {
    negative ^= at().ch == '-';
    ++pos_;
  }
  if (at().is(Kind::kOperator, 'P') || at().is(Kind::kOperator, 'M')) {
    ParserDepth guard(&depth_);
    if (depth_ > pool_.budget().depth) return kNoRef;
    Op op = at().ch == 'P' ? Op::kPlusMinus : Op::kMinusPlus;
    ++pos_;
    Ref inner = signed_factor();
    if (inner == kNoRef) return kNoRef;
    if (negative) op = op == Op::kPlusMinus ? Op::kMinusPlus : Op::kPlusMinus;
    return pool_.make(op, {inner});
  }
  Ref first = factor();
  if (first == kNoRef) return kNoRef;
  Ref product = juxtaposition(first);
  if (product == kNoRef || !negative) return product;
  return combine_mul(pool_, pool_.integer(-1), product);
}

bool Parser::starts_factor() const {
  const Token& t = at();
  switch (t.kind) {
    case Kind::kLetter:
      return !(t.text == "U" && at(1).is(Kind::kOpen) && tokens_[pos_ - 1].is(Kind::kClose));
    case Kind::kNumber:
      // "x2" and ") 2" are not products that people write; "2 3" is none either. "3!7!" and "i2"
      // are.
      return !t.space && pos_ > 0 &&
             (tokens_[pos_ - 1].is(Kind::kOperator, '!') ||
              (tokens_[pos_ - 1].is(Kind::kLetter) && tokens_[pos_ - 1].text == "i"));
    case Kind::kCommand:
      return t.text != "cup" && t.text != "cap" && t.text != "setminus" && t.text != "backslash" &&
             t.text != "cupdot" && t.text != "bigcup" && t.text != "pmod" && t.text != "bmod" &&
             t.text != "mod" && t.text != "over" && t.text != "choose" && t.text != "end" &&
             t.text != "to" && t.text != "Rightarrow" && t.text != "implies" && t.text != "iff" &&
             t.text != "forall" && t.text != "perp" && t.text != "parallel" && t.text != "mapsto";
    case Kind::kOpen:
      return true;
    case Kind::kBar:
      return bars_open_ == 0 && !in_set_;
    default:
      return false;
  }
}

// A letter or word behind a number that is its unit: "10 cm", "5\mathrm{m}".
bool Parser::stops_for_unit(Ref so_far) const {
  if (at_unit_fraction()) return pool_.is_constant(so_far);
  if (at_symbol_unit()) return pool_.is_number(so_far);
  if (!at().is(Kind::kLetter) || !at().upright) return false;
  // "5\\mathrm{C}_4^2" goes on as a product.
  const bool goes_on = at(1).is(Kind::kOperator, '_') || at(1).is(Kind::kOpen, '(');
  if (!is_unit(at().text) && (!is_upright_unit(at().text) || goes_on)) return false;
  return pool_.is_number(so_far) || pool_.is_constant(so_far);
}

// A remark in brackets behind a value: "(exactly)", "(about 0.33)", "(\approx 33.3\%)".
bool Parser::at_remark() const {
  if (!at().is(Kind::kOpen, '(')) return false;
  if (at(1).is(Kind::kRelation)) return true;
  if (at(1).is(Kind::kLetter) && at(2).is(Kind::kRelation, kIn)) return true;  // (k \in Z)
  return at(1).is(Kind::kWord) && (at().upright || at().space);
}

// 5\Omega, 5\mu\mathrm{F}, 5\text{k}\Omega at the end of a value.
bool Parser::at_symbol_unit() const {
  const auto ends = [&](size_t ahead) {
    const Token& t = at(ahead);
    return t.is(Kind::kEnd) || t.is(Kind::kSeparator) || t.is(Kind::kClose) || t.is(Kind::kWord);
  };
  const auto command = [&](size_t ahead, std::string_view name) {
    return at(ahead).is(Kind::kCommand) && at(ahead).text == name;
  };
  if (command(0, "Omega") || command(0, "AA") || command(0, "ohm")) return ends(1);
  if (command(0, "mu") || command(0, "micro")) {
    if (at(1).is(Kind::kWord) && at(1).upright) return true;
    // In italics too, but for N and mg, which friction is multiplied by.
    const bool letter = at(1).is(Kind::kLetter) &&
                        (at(1).upright || std::string_view("FHACVsmgLWT").find(at(1).text) !=
                                              std::string_view::npos);
    return letter && ends(2);
  }
  return at().is(Kind::kLetter) && at().upright && command(1, "Omega") && ends(2);
}

// \frac{\text{km}}{\text{h}}
bool Parser::at_unit_fraction() const {
  if (!at().is(Kind::kCommand) || !at().text.ends_with("frac") || !at(1).is(Kind::kOpen, '{'))
    return false;
  return (at(2).is(Kind::kWord) || at(2).is(Kind::kLetter)) && at(2).upright && is_unit(at(2).text);
}

bool Parser::at_bracketed_modulus() const {
  return at().is(Kind::kOpen, '(') && at(1).is(Kind::kCommand) &&
         (at(1).text == "mod" || at(1).text == "bmod");
}

Ref Parser::juxtaposition(Ref first) {
  Ref product = first;
  while (starts_factor()) {
    if (pool_.full()) return kNoRef;
    if (stops_for_unit(product) || at_bracketed_modulus()) break;
    if (at_remark()) break;
    if (pool_.is(first, Op::kPercent) && product == first && at().is(Kind::kNumber)) return kNoRef;
    Ref next = factor();
    if (next == kNoRef) return kNoRef;
    bool point = pool_.is(next, Op::kTuple) && pool_.is(product, Op::kSymbol);
    product = point ? next : combine_mul(pool_, product, next);  // "A(1,2)" names a point
    if (product == kNoRef) return kNoRef;
  }
  // Two values side by side are no value, but "n! 2^n" and "(1+x)^2 3^n" are products.
  if (at().is(Kind::kNumber)) {
    const Token& before = tokens_[pos_ - 1];
    const bool factorials = before.is(Kind::kOperator, '!') && at(1).is(Kind::kOperator, '!');
    const bool powers =
        at(1).is(Kind::kOperator, '^') &&
        (before.is(Kind::kClose, ')') || before.is(Kind::kClose, '}') ||
         before.is(Kind::kOperator, '!') ||
         (before.is(Kind::kNumber) && pos_ > 1 && tokens_[pos_ - 2].is(Kind::kOperator, '^')));
    const bool goes_on = factorials || powers;
    const Ref next = goes_on ? factor() : kNoRef;
    if (next == kNoRef) return kNoRef;
    product = combine_mul(pool_, product, next);
    return product == kNoRef ? kNoRef : juxtaposition(product);
  }
  if (at().is(Kind::kCommand) && (at().text == "bmod" || at().text == "mod")) {
    ++pos_;
    Ref modulus = factor();
    if (modulus == kNoRef) return kNoRef;
    product = pool_.function(Function::kMod, {product, modulus});
  } else if (at().is(Kind::kCommand) && at().text == "pmod") {
    ++pos_;
    modulus_ = braced();
    if (modulus_ == kNoRef) return kNoRef;
  } else if (at_bracketed_modulus()) {  // (mod 7)
    pos_ += 2;
    modulus_ = factor();
    if (modulus_ == kNoRef || !accept(Kind::kClose, ')')) return kNoRef;
  }
  return product;
}

Ref Parser::factor() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth || pool_.full()) return kNoRef;
  Ref base = primary();
  return base == kNoRef ? kNoRef : postfix(base);
}

// Powers, factorials, percent and degree signs.
Ref Parser::postfix(Ref base) {
  while (base != kNoRef) {
    const Token& t = at();
    if (t.is(Kind::kOperator, '!')) {
      const bool literal = pos_ > 0 && tokens_[pos_ - 1].is(Kind::kNumber);
      ++pos_;
      bool decimal = literal && pool_.is_number(base) && !pool_.value(base).is_integer();
      if (!decimal) base = pool_.function(Function::kFactorial, {base});  // "1.5!" is a cheer
    } else if (t.is(Kind::kPercent)) {
      ++pos_;
      base = pool_.is(base, Op::kPercent) ? base : pool_.make(Op::kPercent, {base});
    } else if (t.is(Kind::kDegree)) {
      ++pos_;
      angle_ = 'd';
      base = pool_.make(Op::kDegree, {base});
    } else if (t.is(Kind::kOperator, '^')) {
      ++pos_;
      if (pool_.is_number(base) && accept_degree_letter()) {
        base = pool_.make(Op::kDegree, {base});
        continue;
      }
      Ref degree_or_power = exponent();
      if (degree_or_power == kNoRef) return kNoRef;
      if (pool_.is(degree_or_power, Op::kText)) {
        const std::string& mark = pool_.name(degree_or_power);
        if (mark == "degree") {
          angle_ = 'd';
          base = pool_.make(Op::kDegree, {base});
          if (at().is(Kind::kLetter) && (at().text == "C" || at().text == "F")) ++pos_;
        } else if (mark == "T") {
          const bool closed = pool_.is(base, Op::kInterval) && pool_[base].flag == 0;
          if (pool_.is(base, Op::kTuple) || closed) {  // (1,2)^T stands upright
            base = pool_.make(Op::kMatrix, pool_.copy_children(base), 1);
          } else {
            base = pool_.is(base, Op::kMatrix) ? transpose(pool_, base)
                                               : pool_.pow(base, pool_.symbol("T"));
          }
        } else if (mark == "complement") {
          base = pool_.make(Op::kOpaque, {base}, pool_.intern("complement"));
        }
        continue;  // an ordinal suffix adds nothing
      }
      base = combine_pow(pool_, base, degree_or_power);
    } else if (t.is(Kind::kOperator, '_') &&
               (pool_.is(base, Op::kMatrix) || pool_.is(base, Op::kTuple))) {
      ++pos_;
      raw_group();
    } else {
      break;
    }
  }
  return base;
}

// "45^o": the letter in the place of the degree sign.
bool Parser::accept_degree_letter() {
  const bool braced = at().is(Kind::kOpen, '{');
  const size_t letter = braced ? 1 : 0;
  if (!at(letter).is(Kind::kLetter) || at(letter).text != "o") return false;
  if (braced && !at(2).is(Kind::kClose, '}')) return false;
  pos_ += braced ? 3 : 1;
  return true;
}

// The exponent after '^'. Text nodes stand for marks: "degree", "T", "ordinal".
Ref Parser::exponent() {
  const Token& t = at();
  if (t.is(Kind::kCommand) && (t.text == "circ" || t.text == "degree")) {
    ++pos_;
    return pool_.text("degree");
  }
  if (t.is(Kind::kOpen, '{')) {
    const Token& inner = at(1);
    bool single = at(2).is(Kind::kClose, '}');
    if (single && inner.is(Kind::kCommand) && (inner.text == "circ" || inner.text == "degree")) {
      pos_ += 3;
      return pool_.text("degree");
    }
    if (single && inner.is(Kind::kDegree)) {
      pos_ += 3;
      return pool_.text("degree");
    }
    bool ordinal =
        inner.is(Kind::kWord) ||
        (inner.is(Kind::kLetter) && at(2).is(Kind::kLetter) && at(3).is(Kind::kClose, '}') &&
         (inner.text + at(2).text == "th" || inner.text + at(2).text == "st" ||
          inner.text + at(2).text == "nd" || inner.text + at(2).text == "rd"));
    if (ordinal) {
      raw_group();
      return pool_.text("ordinal");
    }
    return braced();
  }
  if (t.is(Kind::kWord)) {
    ++pos_;
    return pool_.text("ordinal");
  }
  if (t.is(Kind::kLetter) && t.text == "T") {
    ++pos_;
    return pool_.text("T");
  }
  if (t.is(Kind::kCommand) && (t.text == "top" || t.text == "intercal")) {
    ++pos_;
    return pool_.text("T");
  }
  if (t.is(Kind::kOperator, '-') || t.is(Kind::kOperator, '+')) {
    bool negative = t.ch == '-';
    ++pos_;
    Ref inner = primary();
    if (inner == kNoRef) return kNoRef;
    return negative ? pool_.neg(inner) : inner;
  }
  if (t.is(Kind::kOperator, '\'')) return kNoRef;
  if (t.is(Kind::kOperator, '*')) {
    ++pos_;
    return pool_.text("ordinal");
  }
  // TeX takes one digit; plain text means the whole number. Both agree on one digit.
  Ref base = primary();
  if (base != kNoRef && at().is(Kind::kOperator, '^')) {  // 2^3^4 is 2^(3^4)
    ++pos_;
    ParserDepth guard(&depth_);
    if (depth_ > pool_.budget().depth) return kNoRef;
    Ref upper = exponent();
    if (upper == kNoRef || pool_.is(upper, Op::kText)) return kNoRef;
    return pool_.pow(base, upper);
  }
  return base;
}

}  // namespace zeroth::math
