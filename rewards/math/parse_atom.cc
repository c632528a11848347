#include "rewards/math/parse_atom.h"

#include <algorithm>

#include "rewards/math/bases.h"
#include "rewards/math/decimals.h"
#include "rewards/math/parse_command.h"
#include "rewards/math/parse_expression.h"
#include "rewards/math/parse_group.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

constexpr std::pair<std::string_view, int> kCountingWords[] = {
    {"hundred", 2}, {"thousand", 3}, {"million", 6}, {"billion", 9}, {"trillion", 12},
    {"u+767e", 2},  {"u+5343", 3},   {"u+4e07", 4},  {"u+4ebf", 8}};

bool takes_arguments(std::string_view name) {
  return name.size() == 1 && std::string_view("fghFGH").find(name[0]) != std::string_view::npos;
}

// 204_5, behind the digits: the subscript is part of the answer.
Ref parse_based_number(ParseState& state, const std::string& digits) {
  const size_t start = state.tokens.place();
  state.tokens.advance();
  const int base = base_of(state.tokens.raw_group());
  if (base == 0) {
    state.tokens.move_to(start);
    return kNoRef;
  }
  const size_t first = std::min(digits.find_first_not_of('0'), digits.size() - 1);
  return based_number(state.pool, digits.substr(first), base);
}

// The block of 0.1\overline{6}, behind "0.1" or "0."; empty, with the cursor unmoved, for anything
// else.
std::string accept_overlined(TokenCursor& tokens, size_t places) {
  if (!tokens.at_command("overline") && !tokens.at_command("bar")) return {};
  const size_t start = tokens.place();
  tokens.advance();
  std::string block = tokens.raw_group();
  if (all_digits(block) && block.size() + places < 300) return block;
  tokens.move_to(start);
  return {};
}

// 2 1/2, behind the 2: a half; kNoRef for anything else.
Ref parse_spaced_fraction(ParseState& state) {
  TokenCursor& tokens = state.tokens;
  if (!tokens.at().is(Kind::kNumber) || !tokens.at().space ||
      !tokens.at(1).is(Kind::kOperator, '/') || !tokens.at(2).is(Kind::kNumber))
    return kNoRef;
  const int max_bits = state.pool.budget().exact_bits;
  auto numerator = read_decimal(tokens.at().text, max_bits);
  auto denominator = read_decimal(tokens.at(2).text, max_bits);
  if (!numerator || numerator->fraction || !denominator || denominator->fraction ||
      denominator->value.is_zero())
    return kNoRef;
  tokens.advance(3);
  const Ref top = state.pool.number(std::move(numerator->value));
  return state.pool.div(top, state.pool.number(std::move(denominator->value)));
}

// 1\frac{4}{5} and 2 1/2, behind the integer: sums. The integer alone for anything else.
Ref parse_mixed_fraction(ParseState& state, Ref integer) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  const size_t start = tokens.place();
  const bool command = tokens.at().is(Kind::kCommand) && is_fraction_command(tokens.at().text);
  const Ref part = command ? parse_command(state) : parse_spaced_fraction(state);
  const bool fits = part != kNoRef && pool.is_number(part) && pool.value(part).sign() > 0 &&
                    pool.value(integer).sign() != 0 && pool.value(part) < Rational(1) &&
                    !tokens.at().is(Kind::kOperator, '^');
  if (fits) return pool.add(integer, part);
  tokens.move_to(start);
  return integer;
}

// "3 million", behind the 3.
Ref parse_counting_word(ParseState& state, Ref number) {
  Pool& pool = state.pool;
  if (!state.tokens.at().is(Kind::kWord)) return number;
  for (const auto& [word, zeros] : kCountingWords) {
    if (state.tokens.at().text != word) continue;
    state.tokens.advance();
    return pool.mul(number, pool.pow(pool.integer(10), pool.integer(zeros)));
  }
  return number;
}

Ref parse_number(ParseState& state) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  const std::string& text = tokens.at().text;
  tokens.advance();
  if (tokens.at().is(Kind::kOperator, '_')) return parse_based_number(state, text);
  const size_t recurs = text.find('(');  // "0.1(6)"
  auto decimal = read_decimal(std::string_view(text).substr(0, recurs), pool.budget().exact_bits);
  if (!decimal) {
    // Too long to compute with: a symbol that equals only the same digits.
    return pool.make(Op::kOpaque, std::initializer_list<Ref>{}, pool.intern("number " + text));
  }
  const size_t point = text.find('.');
  if (recurs != std::string::npos) {
    const std::string_view block(text.data() + recurs + 1, text.size() - recurs - 2);
    add_recurring(block, recurs - 1 - point, &decimal->value);
    return pool.number(std::move(decimal->value));
  }
  if (decimal->fraction || text.ends_with('.')) {
    const size_t places = text.size() - 1 - point;
    if (const std::string block = accept_overlined(tokens, places); !block.empty()) {
      add_recurring(block, places, &decimal->value);
      return pool.number(std::move(decimal->value));
    }
  }
  Ref result = pool.number(std::move(decimal->value), decimal->fraction);
  if (!decimal->fraction) result = parse_mixed_fraction(state, result);
  return parse_counting_word(state, result);
}

// C_n^k at the C: the number of combinations. kNoRef with the cursor unmoved when it is a plain
// name, such as the square of a constant C_1.
Ref parse_combinations(ParseState& state) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  const size_t start = tokens.place();
  tokens.advance(2);
  const Ref n = parse_braced(state);
  const bool raised = n != kNoRef && tokens.accept(Kind::kOperator, '^');
  const Ref k = raised ? parse_braced(state) : kNoRef;
  const bool fits =
      k != kNoRef &&
      (!pool.is_number(n) || (pool.is_number(k) && pool.value(k).sign() >= 0 &&
                              !(pool.value(n) < pool.value(k)) && !(pool.value(n) < Rational(2))));
  if (fits) return pool.function(Function::kBinomial, {n, k});
  tokens.move_to(start);
  return kNoRef;
}

// f^{-1}(..), behind the name.
bool at_inverse(const TokenCursor& tokens) {
  return tokens.at().is(Kind::kOperator, '^') && tokens.at(1).is(Kind::kOpen, '{') &&
         tokens.at(2).is(Kind::kOperator, '-') && tokens.at(3).is(Kind::kNumber) &&
         tokens.at(3).text == "1" && tokens.at(4).is(Kind::kClose, '}') &&
         tokens.at(5).is(Kind::kOpen, '(');
}

Ref parse_letter(ParseState& state) {
  Pool& pool = state.pool;
  TokenCursor& tokens = state.tokens;
  if (tokens.at().text == "C" && tokens.at(1).is(Kind::kOperator, '_')) {
    if (const Ref choose = parse_combinations(state); choose != kNoRef) return choose;
  }
  const size_t start = tokens.place();
  std::string name = tokens.at().text;
  tokens.advance();
  const std::string scripts = tokens.scripts();
  name += scripts;
  if (takes_arguments(name) && at_inverse(tokens)) {
    tokens.advance(5);
    return parse_call(state, name + "^{-1}");
  }
  const bool applies = start == state.defined_at || state.functions.count(name) > 0 ||
                       takes_arguments(name) || name.ends_with('\'');
  if (applies && tokens.at().is(Kind::kOpen, '(')) return parse_call(state, name);
  if (name == "e") return pool.leaf(Op::kEuler);
  if (name == "i") return pool.leaf(Op::kImaginary);
  return pool.symbol(name);
}

// A word in the place of a factor: the product of its letters.
Ref parse_letters_of_word(ParseState& state) {
  Pool& pool = state.pool;
  Ref product = kNoRef;
  for (char c : state.tokens.at().text) {
    const Ref letter = pool.symbol(std::string_view(&c, 1));
    product = product == kNoRef ? letter : pool.mul(product, letter);
  }
  state.tokens.advance();
  return product;
}

}  // namespace

Ref parse_call(ParseState& state, const std::string& name) {
  state.tokens.advance();  // the bracket
  const std::vector<Ref> arguments = parse_members(state, ')');
  if (arguments.empty() || !state.tokens.accept(Kind::kClose, ')')) return kNoRef;
  return state.pool.make(Op::kCall, arguments, state.pool.intern(name));
}

Ref parse_atom(ParseState& state) {
  Nesting nesting(state);
  if (state.over_budget()) return kNoRef;
  const Token& t = state.tokens.at();
  switch (t.kind) {
    case Kind::kNumber:
      return parse_number(state);
    case Kind::kLetter:
      return parse_letter(state);
    case Kind::kWord:
      return t.upright ? kNoRef : parse_letters_of_word(state);
    case Kind::kOpen:
      return parse_group(state);
    case Kind::kBar:
      return parse_bars(state);
    case Kind::kCommand:
      return parse_command(state);
    case Kind::kOperator:
      return t.ch == '-' || t.ch == '+' ? parse_signed_product(state) : kNoRef;
    default:
      return kNoRef;
  }
}

}  // namespace zeroth::math
