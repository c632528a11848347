// Words before, behind and in place of values.
#include <algorithm>
#include <array>

#include "rewards/math/extract_parts.h"
#include "rewards/math/parser.h"
#include "rewards/math/parser_words.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;

// Phrases that begin with these qualify the answer before them; they end it.
constexpr auto kQualifiers = std::to_array<std::string_view>(
    {"is",     "for",   "where", "when",   "if",      "such",   "with",     "because",
     "since",  "as",    "are",   "at",     "on",      "given",  "whenever", "which",
     "that",   "so",    "from",  "per",    "of",      "both",   "only",     "in",
     "forall", "holds", "have",  "rather", "instead", "unlike", "but",      "obtained"});
// With one of these the number beside it is not the answer.
constexpr auto kNegations = std::to_array<std::string_view>(
    {"not", "no", "never", "cannot", "none", "neither", "nor", "isn", "isnt", "undefined",
     "impossible", "wrong", "incorrect", "without", "except", "NOT", "Not", "No", "unknown"});

// In brackets behind a value these take it back.
constexpr auto kTakesBack =
    std::to_array<std::string_view>({"wrong", "incorrect", "false", "invalid", "impossible"});

// Beside one of these a number is a date, not a value.
constexpr auto kMonths =
    std::to_array<std::string_view>({"January", "February", "March", "April", "May", "June", "July",
                                     "August", "September", "October", "November", "December"});

// Spellings of the empty set, as text_between makes them.
constexpr auto kEmptySet =
    std::to_array<std::string_view>({"emptyset", "theemptyset", "nullset", "nosolution",
                                     "nosolutions", "norealsolutions", "therearenosolutions"});

// Words for sets of numbers, spelled likewise.
struct NamedSet {
  std::string_view words, set;
};
constexpr auto kNamedSets = std::to_array<NamedSet>({
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

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

bool is_qualifier(std::string_view word) { return one_of(word, kQualifiers); }
bool is_negation(std::string_view word) { return one_of(word, kNegations); }

// Behind "if" or "when": a further case follows, so that the value before is not the answer alone.
bool Parser::more_cases_ahead() const {
  if (at().text != "if" && at().text != "when") return false;
  bool separated = false;
  for (size_t i = pos_ + 1; i < tokens_.size(); ++i) {
    const Token& t = tokens_[i];
    separated |= t.is(Kind::kSeparator);
    if (!t.is(Kind::kWord)) continue;
    if (t.text == "else" || t.text == "otherwise") return true;
    if (separated && t.text == at().text) return true;
  }
  return false;
}

// What a word behind a value says about it; false when it makes another value of it.
bool Parser::note_word(const std::string& word) {
  if (is_negation(word) || one_of(word, kMonths)) return false;
  if (word == "am" || word == "AM") half_day_ = 'a';
  if (word == "pm" || word == "PM") half_day_ = 'p';
  if (word == "rad" || word == "radian" || word == "radians") angle_ = 'r';
  if (word == "deg" || word == "degree" || word == "degrees") angle_ = 'd';
  return true;
}

bool Parser::only_words_ahead() const {
  for (size_t i = pos_; i < tokens_.size(); ++i) {
    const Token& t = tokens_[i];
    if (t.is(Kind::kEnd) || t.is(Kind::kSeparator)) return true;
    bool wordish = t.is(Kind::kWord) || (t.is(Kind::kLetter) && t.upright) ||
                   t.is(Kind::kOperator, '\'') || t.is(Kind::kOperator, ':') ||
                   t.is(Kind::kOperator, '-') || t.is(Kind::kOperator, '/') ||
                   t.is(Kind::kOpen, '(') || t.is(Kind::kClose, ')');
    if (!wordish) return false;
  }
  return true;
}

// The spelling of tokens [begin, end): words in lower case without blanks between letters of one
// run.
Ref Parser::text_between(size_t begin, size_t end) {
  std::string out;
  bool words_only = true;
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens_[i];
    if (t.is(Kind::kWord) || (t.is(Kind::kLetter))) continue;
    words_only = false;
  }
  // "a right triangle" is a right triangle.
  const auto article = [&](const Token& t) {
    const std::string word = lower_case(t.text);
    return (t.is(Kind::kWord) || t.is(Kind::kLetter)) &&
           (word == "a" || word == "an" || word == "the");
  };
  if (begin + 1 < end && article(tokens_[begin]) && tokens_[begin + 1].is(Kind::kWord)) ++begin;
  size_t script_end = 0;  // behind the token that gets braces: x^2 is x^{2}
  for (size_t i = begin; i < end; ++i) {
    const Token& t = tokens_[i];
    if (i > 0 && i == script_end) out += '}';
    const bool script = t.is(Kind::kOperator, '^') || t.is(Kind::kOperator, '_');
    if (script && i + 1 < end && !tokens_[i + 1].is(Kind::kOpen, '{')) {
      out += t.ch;
      out += '{';
      script_end = i + 2;
      continue;
    }
    switch (t.kind) {
      case Kind::kWord:
        // "June 20th"
        if (i > begin && tokens_[i - 1].is(Kind::kNumber) &&
            (t.text == "th" || t.text == "st" || t.text == "nd" || t.text == "rd"))
          break;
        out += lower_case(t.text);
        break;
      case Kind::kLetter:
        out += words_only || t.upright ? lower_case(t.text) : t.text;
        break;
      case Kind::kNumber:
        out += t.text;
        break;
      case Kind::kCommand:
        out += "\\" + t.text;
        break;
      case Kind::kSeparator:
        out += t.ch == 'n' ? ';' : t.ch;
        break;
      case Kind::kPercent:
        out += '%';
        break;
      case Kind::kDegree:
        out += "^\\circ";
        break;
      case Kind::kCell:
        out += '&';
        break;
      default:
        if (t.ch == '-' && i + 1 < end && (tokens_[i + 1].is(Kind::kWord)) && i > begin)
          break;  // hyphen
        if (t.ch != 0) out += t.ch;
        break;
    }
  }
  if (script_end == end && end > 0) out += '}';
  const Ref set = named_set(out);
  return set != kNoRef ? set : pool_.text(out);
}

Ref Parser::named_set(const std::string& words) {
  std::string_view set = one_of(words, kEmptySet) ? "empty" : "";
  for (const NamedSet& named : kNamedSets) {
    if (named.words == words) set = named.set;
  }
  if (set.empty()) return kNoRef;
  return pool_.make(Op::kSpecialSet, std::initializer_list<Ref>{}, pool_.intern(set));
}

// Passes words before a formula. False when they negate it. `label` gets the words when "=" or ":"
// follows.
bool Parser::skip_leading_words(std::string* label) {
  size_t begin = pos_;
  // "a total of 5"
  if (at().is(Kind::kLetter) && at().upright && at().text == "a" && at(1).is(Kind::kWord)) ++pos_;
  while (at().is(Kind::kWord)) {
    if (at().changes || is_negation(at().text) || one_of(at().text, kMonths)) return false;
    ++pos_;
    while (at().is(Kind::kLetter) && at().upright && (at(1).is(Kind::kWord))) ++pos_;  // "is a"
  }
  if (pos_ == begin) return true;
  if (at().is(Kind::kOperator, ':') || at().is(Kind::kRelation, kEq)) {
    for (size_t i = begin; i < pos_; ++i) *label += lower_case(tokens_[i].text);
    ++pos_;
  }
  return true;
}

// Passes units and remarks after a formula up to the end of the element; false when they change its
// meaning.
bool Parser::skip_trailing_words() {
  bool first = true;
  bool number_seen = false;
  int open = 0;  // brackets opened by the remark itself
  while (!done() && !at().is(Kind::kSeparator) && !at().is(Kind::kCell)) {
    const Token& t = at();
    if (t.is(Kind::kClose) && open == 0) break;
    open += t.is(Kind::kOpen);
    open -= t.is(Kind::kClose);
    if (open > 0) {
      // A remark in brackets says what it likes, unless it takes the value back.
      if (t.is(Kind::kLetter) && at(1).is(Kind::kRelation, kIn))
        parameters_.push_back(pool_.intern(t.text));
      const bool denial = t.is(Kind::kWord) && t.text == "not" && at(1).is(Kind::kWord);
      if (denial || (t.is(Kind::kWord) && one_of(t.text, kTakesBack))) return false;
      first = false;
      ++pos_;
      continue;
    }
    if (t.is(Kind::kWord) || (t.is(Kind::kLetter) && t.upright)) {
      if (first && t.is(Kind::kLetter)) unit_ = t.text;
      if (t.changes || !note_word(t.text)) return false;
      if (is_qualifier(t.text) && depth_ <= 1 && !in_set_) {
        if (more_cases_ahead()) return false;
        // "5 is wrong"
        for (size_t i = pos_; i < tokens_.size() && i < pos_ + 5; ++i) {
          if (tokens_[i].is(Kind::kWord) && (one_of(tokens_[i].text, kTakesBack))) return false;
        }
        cut_ = true;
        return true;
      }
    } else if (t.is(Kind::kNumber) && !first) {
      // "5 hours 20 minutes" is not 5; "cm^2" and "cm2" are.
      bool script = tokens_[pos_ - 1].is(Kind::kOperator, '^') ||
                    tokens_[pos_ - 1].is(Kind::kOperator, '-') ||
                    (tokens_[pos_ - 1].is(Kind::kOpen, '{')) || !t.space;
      if (!script) number_seen = true;
    } else if (t.is(Kind::kRelation)) {
      return false;
    }
    first = false;
    ++pos_;
  }
  return !number_seen;
}

}  // namespace zeroth::math
