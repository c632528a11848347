#include "rewards/math/token_text.h"

#include <algorithm>
#include <array>
#include <string>

#include "rewards/math/extract_parts.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Words for sets of numbers and for the empty set, spelled as this file spells them.
struct NamedSet {
  std::string_view words, set;
};
constexpr auto kNamedSets = std::to_array<NamedSet>({
    {"emptyset", "empty"},
    {"theemptyset", "empty"},
    {"nullset", "empty"},
    {"nosolution", "empty"},
    {"nosolutions", "empty"},
    {"norealsolutions", "empty"},
    {"therearenosolutions", "empty"},
    {"allrealnumbers", "R"},
    {"allreals", "R"},
    {"anyrealnumber", "R"},
    {"everyrealnumber", "R"},
    {"realnumbers", "R"},
    {"setofallrealnumbers", "R"},
    {"setofrealnumbers", "R"},
    {"allrealvalues", "R"},
    {"allintegers", "Z"},
    {"integers", "Z"},
    {"setofallintegers", "Z"},
    {"setofintegers", "Z"},
    {"allpositiveintegers", "Z^+"},
    {"positiveintegers", "Z^+"},
    {"allnaturalnumbers", "N"},
    {"naturalnumbers", "N"},
    {"allrationalnumbers", "Q"},
    {"rationalnumbers", "Q"},
});

bool is_letters(const Token& t) { return t.is(Kind::kWord) || t.is(Kind::kLetter); }

bool is_article(const Token& t) {
  const std::string word = lower_case(t.text);
  return is_letters(t) && (word == "a" || word == "an" || word == "the");
}

bool is_ordinal_suffix(std::string_view word) {
  return word == "th" || word == "st" || word == "nd" || word == "rd";
}

// One token between its neighbours `before` and `after`, kEnd at the rim of the text. `words_only`:
// the text has no other tokens than words and letters.
std::string spelling_of(const Token& t, const Token& before, const Token& after, bool words_only) {
  switch (t.kind) {
    case Kind::kWord:  // "June 20th"
      return before.is(Kind::kNumber) && is_ordinal_suffix(t.text) ? "" : lower_case(t.text);
    case Kind::kLetter:
      return words_only || t.upright ? lower_case(t.text) : t.text;
    case Kind::kNumber:
      return t.text;
    case Kind::kCommand:
      return "\\" + t.text;
    case Kind::kSeparator:
      return std::string(1, t.ch == 'n' ? ';' : t.ch);
    case Kind::kPercent:
      return "%";
    case Kind::kDegree:
      return "^\\circ";
    case Kind::kCell:
      return "&";
    default: {
      const bool hyphen = t.ch == '-' && after.is(Kind::kWord) && !before.is(Kind::kEnd);
      return hyphen || t.ch == 0 ? "" : std::string(1, t.ch);
    }
  }
}

}  // namespace

Ref text_of_tokens(Pool& pool, const TokenCursor& tokens, size_t begin, size_t end) {
  bool words_only = true;
  for (size_t i = begin; i < end; ++i) words_only &= is_letters(tokens.token(i));
  // "a right triangle" is a right triangle.
  if (begin + 1 < end && is_article(tokens.token(begin)) && tokens.token(begin + 1).is(Kind::kWord))
    ++begin;
  static const Token kRim;
  std::string words;
  size_t script_end = 0;  // behind the token that gets braces: x^2 is x^{2}
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens.token(i);
    if (i > 0 && i == script_end) words += '}';
    const bool script = t.is(Kind::kOperator, '^') || t.is(Kind::kOperator, '_');
    if (script && i + 1 < end && !tokens.token(i + 1).is(Kind::kOpen, '{')) {
      words += t.ch;
      words += '{';
      script_end = i + 2;
      continue;
    }
    words += spelling_of(t, i > begin ? tokens.token(i - 1) : kRim,
                         i + 1 < end ? tokens.token(i + 1) : kRim, words_only);
  }
  if (script_end == end && end > 0) words += '}';
  for (const NamedSet& named : kNamedSets) {
    if (named.words == words) return special_set(pool, named.set);
  }
  return pool.text(words);
}

Ref special_set(Pool& pool, std::string_view name) {
  return pool.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool.intern(name));
}

}  // namespace zeroth::math
