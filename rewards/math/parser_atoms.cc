// Numbers, letters and groups.
#include <algorithm>

#include "rewards/math/bases.h"
#include "rewards/math/parser.h"
#include "rewards/math/parser_depth.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

bool all_digits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// Adds the digits of a block that recurs for ever behind `places` decimals.
void add_recurring(std::string_view block, size_t places, Rational* value) {
  Rational repeat, nines, scale;
  fmpz_set_str(fmpq_numref(repeat.get()), std::string(block).c_str(), 10);
  fmpz_set_ui(fmpq_numref(nines.get()), 10);
  fmpz_pow_ui(fmpq_numref(nines.get()), nines.num(), block.size());
  fmpz_sub_ui(fmpq_numref(nines.get()), nines.num(), 1);
  fmpz_set_ui(fmpq_numref(scale.get()), 10);
  fmpz_pow_ui(fmpq_numref(scale.get()), scale.num(), places);
  fmpq_div(repeat.get(), repeat.get(), nines.get());
  fmpq_div(repeat.get(), repeat.get(), scale.get());
  fmpq_add(value->get(), value->get(), repeat.get());
}

// The value of "123", "1.5", ".5", "2e-3"; false when the exponent is over the budget.
bool read_decimal(std::string_view text, int max_bits, Rational* out, bool* decimal) {
  size_t e = text.find_first_of("eE");
  std::string_view mantissa = text.substr(0, e);
  std::string digits;
  int64_t scale = 0;
  bool point = false;
  for (char c : mantissa) {
    if (c == '.') {
      point = true;
      continue;
    }
    digits.push_back(c);
    if (point) --scale;
  }
  if (e != std::string_view::npos) {
    std::string_view rest = text.substr(e + 1);
    bool negative = rest.starts_with('-');
    if (negative || rest.starts_with('+')) rest.remove_prefix(1);
    if (rest.size() > 5) return false;
    int64_t exponent = 0;
    for (char c : rest) exponent = exponent * 10 + (c - '0');
    scale += negative ? -exponent : exponent;
  }
  // 10^k has about 3.33 k bits.
  if (static_cast<int64_t>(digits.size()) * 10 / 3 > max_bits ||
      std::abs(scale) * 10 / 3 > max_bits)
    return false;
  if (digits.empty()) digits = "0";
  if (fmpz_set_str(fmpq_numref(out->get()), digits.c_str(), 10) != 0) return false;
  if (scale != 0) {
    Rational power;
    fmpz_set_ui(fmpq_numref(power.get()), 10);
    fmpz_pow_ui(fmpq_numref(power.get()), power.num(), static_cast<ulong>(std::abs(scale)));
    if (scale > 0) {
      fmpq_mul(out->get(), out->get(), power.get());
    } else {
      fmpq_div(out->get(), out->get(), power.get());
    }
  }
  *decimal = point || e != std::string_view::npos;
  return true;
}

constexpr std::pair<std::string_view, int> kCountingWords[] = {
    {"hundred", 2}, {"thousand", 3}, {"million", 6}, {"billion", 9}, {"trillion", 12},
    {"u+767e", 2},  {"u+5343", 3},   {"u+4e07", 4},  {"u+4ebf", 8}};

bool takes_arguments(std::string_view name) {
  return name.size() == 1 && std::string_view("fghFGH").find(name[0]) != std::string_view::npos;
}

}  // namespace

Ref Parser::primary() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth || pool_.full()) return kNoRef;
  switch (at().kind) {
    case Kind::kNumber:
      return number();
    case Kind::kLetter:
      return letter();
    case Kind::kWord:
      if (at().upright) return kNoRef;
      return word_symbol();
    case Kind::kOpen:
      return open_group();
    case Kind::kBar:
      return bars();
    case Kind::kCommand:
      return command();
    case Kind::kOperator:
      if (at().ch == '-' || at().ch == '+') return signed_factor();
      return kNoRef;
    default:
      return kNoRef;
  }
}

Ref Parser::number() {
  const Token& token = at();
  const std::string& text = token.text;
  ++pos_;
  // 204_5: digits in a base; the subscript is part of the answer.
  if (at().is(Kind::kOperator, '_')) {
    size_t save = pos_;
    ++pos_;
    const int base = base_of(raw_group());
    if (base > 0) {
      size_t first = std::min(text.find_first_not_of('0'), text.size() - 1);
      return pool_.make(Op::kBase, std::initializer_list<Ref>{}, pool_.intern(text.substr(first)),
                        static_cast<uint8_t>(base));
    }
    pos_ = save;
    return kNoRef;
  }
  Rational value;
  bool decimal = false;
  const size_t recurs = text.find('(');  // "0.1(6)"
  if (!read_decimal(std::string_view(text).substr(0, recurs), pool_.budget().exact_bits, &value,
                    &decimal)) {
    // Too long to compute with: a symbol that equals only the same digits.
    return pool_.make(Op::kOpaque, std::initializer_list<Ref>{}, pool_.intern("number " + text));
  }
  if (recurs != std::string::npos) {
    const std::string_view block(text.data() + recurs + 1, text.size() - recurs - 2);
    add_recurring(block, recurs - 1 - text.find('.'), &value);
    return pool_.number(std::move(value));
  }
  // 0.1\overline{6}: repeating decimals.
  if ((decimal || text.ends_with('.')) && at().is(Kind::kCommand) &&
      (at().text == "overline" || at().text == "bar")) {
    size_t save = pos_;
    ++pos_;
    std::string block = raw_group();
    size_t places = text.size() - 1 - text.find('.');
    if (all_digits(block) && block.size() + places < 300) {
      add_recurring(block, places, &value);
      return pool_.number(std::move(value));
    }
    pos_ = save;
  }
  Ref result = pool_.number(std::move(value), decimal);
  if (!decimal) result = mixed_fraction(result);
  if (at().is(Kind::kWord)) {  // "3 million"
    for (const auto& [word, zeros] : kCountingWords) {
      if (at().text != word) continue;
      ++pos_;
      return pool_.mul(result, pool_.pow(pool_.integer(10), pool_.integer(zeros)));
    }
  }
  return result;
}

// 1\frac{4}{5} and 2 1/2 are sums.
Ref Parser::mixed_fraction(Ref integer) {
  size_t save = pos_;
  Ref part = kNoRef;
  if (at().is(Kind::kCommand) && (at().text == "frac" || at().text == "dfrac" ||
                                  at().text == "tfrac" || at().text == "cfrac")) {
    part = command();
  } else if (at().is(Kind::kNumber) && at().space && at(1).is(Kind::kOperator, '/') &&
             at(2).is(Kind::kNumber)) {
    ++pos_;
    Rational n, d;
    bool decimal = false;
    const std::string numerator = tokens_[pos_ - 1].text, denominator = at(1).text;
    if (read_decimal(numerator, pool_.budget().exact_bits, &n, &decimal) && !decimal &&
        read_decimal(denominator, pool_.budget().exact_bits, &d, &decimal) && !decimal &&
        !d.is_zero()) {
      pos_ += 2;
      part = pool_.div(pool_.number(std::move(n)), pool_.number(std::move(d)));
    }
  }
  bool fits = part != kNoRef && pool_.is_number(part) && pool_.value(part).sign() > 0 &&
              pool_.value(integer).sign() != 0 && pool_.value(part) < Rational(1) &&
              !at().is(Kind::kOperator, '^');
  if (fits) return pool_.add(integer, part);
  pos_ = save;
  return integer;
}

// The text of a subscript after '_', without braces and blanks.
std::string Parser::subscript_text() {
  std::string text = raw_group();
  std::erase(text, '\\');
  return text;
}

// The tokens of one group or one token, glued together; moves past it.
std::string Parser::raw_group() {
  std::string out;
  if (!at().is(Kind::kOpen, '{')) {
    if (done()) return out;
    out = at().text.empty() ? std::string(1, at().ch) : at().text;
    ++pos_;
    return out;
  }
  int depth = 0;
  while (!done()) {
    const Token& t = at();
    ++pos_;
    if (t.is(Kind::kOpen, '{')) {
      ++depth;
      continue;
    }
    if (t.is(Kind::kClose, '}')) {
      if (--depth == 0) return out;
      continue;
    }
    out += t.text.empty() ? std::string(1, t.ch == 0 ? '?' : t.ch) : t.text;
  }
  return out;
}

Ref Parser::letter() {
  if (at().text == "C" && at(1).is(Kind::kOperator, '_')) {
    Ref choose = combinations();
    if (choose != kNoRef) return choose;
  }
  size_t start = pos_;
  std::string name = at().text;
  bool upright = at().upright;
  ++pos_;
  bool plain_name = true;
  while (at().is(Kind::kOperator, '_') || at().is(Kind::kOperator, '\'')) {
    plain_name = false;
    if (at().ch == '\'') {
      name += '\'';
      ++pos_;
    } else {
      ++pos_;
      name += "_" + subscript_text();
    }
  }
  const bool inverse = plain_name && takes_arguments(name) && at().is(Kind::kOperator, '^') &&
                       at(1).is(Kind::kOpen, '{') && at(2).is(Kind::kOperator, '-') &&
                       at(3).is(Kind::kNumber) && at(3).text == "1" &&
                       at(4).is(Kind::kClose, '}') && at(5).is(Kind::kOpen, '(');
  if (inverse) {
    pos_ += 5;
    return call(name + "^{-1}");
  }
  bool applies =
      start == call_pos_ || calls_.count(name) > 0 || takes_arguments(name) || name.ends_with('\'');
  if (applies && at().is(Kind::kOpen, '(')) return call(name);
  if (plain_name && name == "e" && !upright) return pool_.leaf(Op::kEuler);
  if (plain_name && name == "e") return pool_.leaf(Op::kEuler);
  if (plain_name && name == "i") return pool_.leaf(Op::kImaginary);
  return pool_.symbol(name);
}

// C_n^k, the number of combinations; kNoRef with the position unchanged when it is a plain name,
// such as the square of a constant C_1.
Ref Parser::combinations() {
  const size_t start = pos_;
  pos_ += 2;
  Ref n = braced(), k = kNoRef;
  if (n != kNoRef && at().is(Kind::kOperator, '^')) {
    ++pos_;
    k = braced();
  }
  bool choose = k != kNoRef && !pool_.is(n, Op::kText) && !pool_.is(k, Op::kText);
  if (choose && pool_.is_number(n)) {
    choose = pool_.is_number(k) && pool_.value(k).sign() >= 0 &&
             !(pool_.value(n) < pool_.value(k)) && !(pool_.value(n) < Rational(2));
  }
  if (choose) return pool_.function(Function::kBinomial, {n, k});
  pos_ = start;
  return kNoRef;
}

// name(args): an unknown function.
Ref Parser::call(const std::string& name) {
  ++pos_;  // the bracket
  std::vector<Ref> args = elements_until(Kind::kClose, ')');
  if (args.empty() || !accept(Kind::kClose, ')')) return kNoRef;
  return pool_.make(Op::kCall, args, pool_.intern(name));
}

Ref Parser::open_group() {
  char open = at().ch;
  ++pos_;
  switch (open) {
    case 'S':
      return set_group();
    case 'F':
    case 'C': {
      int saved = std::exchange(bars_open_, 0);
      Ref inner = additive();
      bars_open_ = saved;
      if (inner == kNoRef || !accept(Kind::kClose, open)) return kNoRef;
      return pool_.function(open == 'F' ? Function::kFloor : Function::kCeil, {inner});
    }
    case '{': {
      int saved = std::exchange(bars_open_, 0);
      bool set = std::exchange(in_set_, false);
      if (accept(Kind::kClose, '}')) {  // {} prints nothing
        bars_open_ = saved;
        in_set_ = set;
        return starts_factor() || at().is(Kind::kNumber) ? factor() : kNoRef;
      }
      std::vector<Ref> parts = elements_until(Kind::kClose, '}');
      bars_open_ = saved;
      in_set_ = set;
      if (parts.empty() || !accept(Kind::kClose, '}')) return kNoRef;
      return parts.size() == 1 ? parts[0] : pool_.make(Op::kList, parts);
    }
    default:
      return bracket_group(open);
  }
}

// ( .. ), [ .. ], < .. >: grouping, a tuple or an interval.
Ref Parser::bracket_group(char open) {
  int saved = std::exchange(bars_open_, 0);
  bool set = std::exchange(in_set_, false);
  std::vector<Ref> parts = elements_until(Kind::kClose, 0);
  bars_open_ = saved;
  in_set_ = set;
  if (parts.empty() || !at().is(Kind::kClose)) return kNoRef;
  char close = at().ch;
  if (close != ')' && close != ']' && close != 'A') return kNoRef;
  ++pos_;
  bool matched = (open == '(' && close == ')') || (open == '[' && close == ']') ||
                 (open == 'A' && close == 'A');
  if (parts.size() == 1) {
    if (!matched) return kNoRef;
    // (101)_2
    if (at().is(Kind::kOperator, '_') && pool_.is_number(parts[0]) &&
        tokens_[pos_ - 2].is(Kind::kNumber)) {
      std::string digits = tokens_[pos_ - 2].text;
      ++pos_;
      const int base = base_of(raw_group());
      if (base == 0 || !all_digits(digits)) return kNoRef;
      return pool_.make(Op::kBase, std::initializer_list<Ref>{}, pool_.intern(digits),
                        static_cast<uint8_t>(base));
    }
    return parts[0];
  }
  if (parts.size() == 2 && (open == '[' || close == ']')) {
    if (open == 'A' || close == 'A') return kNoRef;
    uint8_t flag =
        static_cast<uint8_t>((open == '(' ? kOpenLeft : 0) | (close == ')' ? kOpenRight : 0));
    return pool_.make(Op::kInterval, parts, 0, flag);
  }
  if (!matched) return kNoRef;
  // Members with an open sign make several tuples; that is for expand_signs.
  return pool_.make(Op::kTuple, parts);
}

// \{ .. \} with members, or \{ x | condition \}.
Ref Parser::set_group() {
  int saved = std::exchange(bars_open_, 0);
  bool set = std::exchange(in_set_, true);
  Ref result = kNoRef;
  if (accept(Kind::kClose, 'S')) {
    result = pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern("empty"));
  } else {
    Ref first = relation_chain();
    bool bar = at().is(Kind::kBar, '|') || at().is(Kind::kOperator, ':');
    if (first != kNoRef && bar) {
      ++pos_;
      std::vector<Ref> parts = elements_until(Kind::kClose, 'S');
      if (!parts.empty() && accept(Kind::kClose, 'S')) {
        parts.insert(parts.begin(), first);
        result = pool_.make(Op::kSetBuilder, parts);
      }
    } else if (first != kNoRef && (at().is(Kind::kSeparator) || at().is(Kind::kClose, 'S'))) {
      std::vector<Ref> parts = elements_until(Kind::kClose, 'S');
      if (accept(Kind::kClose, 'S')) {
        parts.insert(parts.begin(), first);
        result = pool_.make(Op::kSet, parts);
      }
    }
  }
  bars_open_ = saved;
  in_set_ = set;
  return result;
}

// |x| and ||x||
Ref Parser::bars() {
  char kind = at().ch;
  ++pos_;
  ++bars_open_;
  bool set = std::exchange(in_set_, false);
  Ref inner = additive();
  in_set_ = set;
  --bars_open_;
  if (inner == kNoRef || !accept(Kind::kBar, kind)) return kNoRef;
  if (kind == 'N') return pool_.make(Op::kOpaque, {inner}, pool_.intern("norm"));
  if (pool_.is(inner, Op::kMatrix)) return determinant(pool_, inner);
  return pool_.function(Function::kAbs, {inner});
}

// {..} as one value, or one token as TeX takes it: \frac12 is 1 over 2.
Ref Parser::braced() {
  ParserDepth guard(&depth_);
  if (depth_ > pool_.budget().depth) return kNoRef;
  if (at().is(Kind::kOpen, '{')) {
    ++pos_;
    int saved = std::exchange(bars_open_, 0);
    std::vector<Ref> parts = elements_until(Kind::kClose, '}');
    bars_open_ = saved;
    if (parts.size() != 1 || !accept(Kind::kClose, '}')) return kNoRef;
    return parts[0];
  }
  return primary();
}

}  // namespace zeroth::math
