#include "rewards/math/lookahead.h"

#include "rewards/math/node.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Behind a subscript and primes; `place` stands behind the name.
size_t behind_scripts(const TokenCursor& tokens, size_t place) {
  if (tokens.token(place).is(Kind::kOperator, '_')) {
    ++place;
    if (tokens.token(place).is(Kind::kOpen, '{')) {
      while (!tokens.token(place).is(Kind::kClose, '}') && !tokens.token(place).is(Kind::kEnd))
        ++place;
    }
    ++place;
  }
  while (tokens.token(place).is(Kind::kOperator, '\'')) ++place;
  return place;
}

}  // namespace

bool at_unit_fraction(const TokenCursor& tokens) {
  if (!tokens.at().is(Kind::kCommand) || !tokens.at().text.ends_with("frac") ||
      !tokens.at(1).is(Kind::kOpen, '{'))
    return false;
  const Token& unit = tokens.at(2);
  return (unit.is(Kind::kWord) || unit.is(Kind::kLetter)) && unit.upright && is_unit(unit.text);
}

bool at_symbol_unit(const TokenCursor& tokens) {
  const auto ends = [&](size_t ahead) {
    const Token& t = tokens.at(ahead);
    return t.is(Kind::kEnd) || t.is(Kind::kSeparator) || t.is(Kind::kClose) || t.is(Kind::kWord);
  };
  if (tokens.at_command("Omega") || tokens.at_command("AA") || tokens.at_command("ohm"))
    return ends(1);
  if (tokens.at_command("mu") || tokens.at_command("micro")) {
    const Token& unit = tokens.at(1);
    if (unit.is(Kind::kWord) && unit.upright) return true;
    // In italics too, but for N and mg, which friction is multiplied by.
    constexpr std::string_view kItalics = "FHACVsmgLWT";
    const bool letter = unit.is(Kind::kLetter) &&
                        (unit.upright || kItalics.find(unit.text) != std::string_view::npos);
    return letter && ends(2);
  }
  return tokens.at().is(Kind::kLetter) && tokens.at().upright && tokens.at_command("Omega", 1) &&
         ends(2);
}

bool at_remark(const TokenCursor& tokens) {
  if (!tokens.at().is(Kind::kOpen, '(')) return false;
  if (tokens.at(1).is(Kind::kRelation)) return true;
  if (tokens.at(1).is(Kind::kLetter) && tokens.at(2).is(Kind::kRelation, kIn))
    return true;  // (k \in Z)
  return tokens.at(1).is(Kind::kWord) && (tokens.at().upright || tokens.at().space);
}

bool at_bracketed_modulus(const TokenCursor& tokens) {
  return tokens.at().is(Kind::kOpen, '(') &&
         (tokens.at_command("mod", 1) || tokens.at_command("bmod", 1));
}

bool only_words_ahead(const TokenCursor& tokens) {
  for (size_t i = tokens.place(); i <= tokens.last_place(); ++i) {
    const Token& t = tokens.token(i);
    if (t.is(Kind::kEnd) || t.is(Kind::kSeparator)) return true;
    const bool wordish = t.is(Kind::kWord) || (t.is(Kind::kLetter) && t.upright) ||
                         t.is(Kind::kOperator, '\'') || t.is(Kind::kOperator, ':') ||
                         t.is(Kind::kOperator, '-') || t.is(Kind::kOperator, '/') ||
                         t.is(Kind::kOpen, '(') || t.is(Kind::kClose, ')');
    if (!wordish) return false;
  }
  return true;
}

bool more_cases_ahead(const TokenCursor& tokens) {
  const std::string& condition = tokens.at().text;
  if (condition != "if" && condition != "when") return false;
  bool separated = false;
  for (size_t i = tokens.place() + 1; i <= tokens.last_place(); ++i) {
    const Token& t = tokens.token(i);
    separated |= t.is(Kind::kSeparator);
    if (!t.is(Kind::kWord)) continue;
    if (t.text == "else" || t.text == "otherwise") return true;
    if (separated && t.text == condition) return true;
  }
  return false;
}

bool at_function_definition(const TokenCursor& tokens) {
  if (!tokens.at().is(Kind::kLetter) && !tokens.at().is(Kind::kCommand)) return false;
  size_t i = behind_scripts(tokens, tokens.place() + 1);
  if (!tokens.token(i).is(Kind::kOpen, '(')) return false;
  int depth = 0;
  for (; i <= tokens.last_place(); ++i) {
    const Token& t = tokens.token(i);
    if (t.is(Kind::kOpen)) ++depth;
    if (t.is(Kind::kClose) && --depth == 0) break;
    if (t.is(Kind::kEnd)) return false;
  }
  return tokens.token(i + 1).is(Kind::kRelation);
}

}  // namespace zeroth::math
