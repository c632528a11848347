#include "rewards/math/rewrite_words.h"

#include <algorithm>
#include <array>

#include "rewards/math/extract_parts.h"
#include "rewards/math/rewrite.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;
using Tokens = std::vector<Token>;

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

struct Named {
  std::string_view word;
  int value;
};

constexpr auto kNumbers = std::to_array<Named>(
    {{"zero", 0},     {"one", 1},      {"two", 2},        {"three", 3},     {"four", 4},
     {"five", 5},     {"six", 6},      {"seven", 7},      {"eight", 8},     {"nine", 9},
     {"ten", 10},     {"eleven", 11},  {"twelve", 12},    {"thirteen", 13}, {"fourteen", 14},
     {"fifteen", 15}, {"sixteen", 16}, {"seventeen", 17}, {"eighteen", 18}, {"nineteen", 19},
     {"twenty", 20},  {"thirty", 30},  {"forty", 40},     {"fifty", 50},    {"sixty", 60},
     {"seventy", 70}, {"eighty", 80},  {"ninety", 90}});

constexpr auto kParts = std::to_array<Named>(
    {{"half", 2},        {"halves", 2},       {"third", 3},         {"thirds", 3},
     {"quarter", 4},     {"quarters", 4},     {"fourth", 4},        {"fourths", 4},
     {"fifth", 5},       {"fifths", 5},       {"sixth", 6},         {"sixths", 6},
     {"seventh", 7},     {"sevenths", 7},     {"eighth", 8},        {"eighths", 8},
     {"ninth", 9},       {"ninths", 9},       {"tenth", 10},        {"tenths", 10},
     {"hundredth", 100}, {"hundredths", 100}, {"thousandth", 1000}, {"thousandths", 1000}});

template <size_t N>
int value_of(std::string_view word, const std::array<Named, N>& table) {
  for (const Named& entry : table) {
    if (entry.word == word) return entry.value;
  }
  return -1;
}

// Words that change the value which follows them.
constexpr auto kBounds = std::to_array<std::string_view>(
    {"between", "divisible", "multiple", "multiples", "reciprocal", "inverse", "opposite",
     "complement", "logarithm", "besides", "excluding", "exceeding", "beyond", "factor", "factors",
     "divisor", "divisors", "anything", "everything"});
constexpr auto kBoundsAtValue =
    std::to_array<std::string_view>({"below", "above", "under", "over"});
constexpr auto kThan =
    std::to_array<std::string_view>({"less", "more", "greater", "fewer", "smaller", "larger",
                                     "bigger", "higher", "lower", "other", "different"});

class WordRewriter {
 public:
  explicit WordRewriter(Tokens* tokens) : in_(std::move(*tokens)) {}

  Tokens run() {
    for (i_ = 0; i_ < in_.size();) {
      if (article()) continue;
      if (!in_[i_].is(Kind::kWord) || !step()) out_.push_back(in_[i_++]);
    }
    return std::move(out_);
  }

 private:
  const Token& at(size_t ahead) const {
    return i_ + ahead < in_.size() ? in_[i_ + ahead] : in_.back();
  }
  std::string word(size_t ahead) const {
    return at(ahead).is(Kind::kWord) ? lower_case(at(ahead).text) : std::string();
  }
  static bool starts_value(const Token& t) {
    return t.is(Kind::kNumber) || t.is(Kind::kCommand) || t.is(Kind::kOpen) ||
           (t.is(Kind::kLetter) && t.text != "a") || t.is(Kind::kOperator, '-');
  }
  bool after_value() const {
    if (out_.empty()) return false;
    const Token& t = out_.back();
    return t.is(Kind::kNumber) || t.is(Kind::kClose) || t.is(Kind::kLetter) ||
           t.is(Kind::kPercent) || (t.is(Kind::kCommand) && t.text == "pi");
  }
  bool begins_answer() const { return out_.empty() || out_.back().is(Kind::kSeparator); }
  bool after_number() const { return !out_.empty() && out_.back().is(Kind::kNumber); }
  bool ends_at(size_t ahead) const {
    const Token& t = at(ahead);
    return t.is(Kind::kEnd) || t.is(Kind::kSeparator) || t.is(Kind::kClose);
  }
  void sign(char ch) { put(Kind::kOperator, ch, {}); }
  void number(int value) { put(Kind::kNumber, 0, std::to_string(value)); }
  void put(Kind kind, char ch, std::string text) {
    Token token;
    token.kind = kind;
    token.ch = ch;
    token.text = std::move(text);
    out_.push_back(std::move(token));
  }
  bool take(size_t count) {
    i_ += count;
    return true;
  }

  // Passes the letter of "a quarter of 6" and "$1,500 a month".
  bool article() {
    if (!at(0).is(Kind::kLetter) || at(0).text != "a") return false;
    const bool part = value_of(word(1), kParts) > 0 && word(2) == "of";
    static constexpr auto kPer = std::to_array<std::string_view>(
        {"day", "week", "month", "year", "hour", "minute", "second", "night", "piece", "person",
         "share", "mile", "gallon", "pound", "game", "trip", "kilogram", "liter", "litre"});
    if (!part && !(after_number() && at(0).space && one_of(word(1), kPer))) return false;
    ++i_;
    return true;
  }

  // Rewrites the word at the cursor and passes it; false when it stays.
  bool step() {
    const std::string w = word(0);
    return operators(w) || multiples(w) || scripts(w) || parts(w) || spelled_number(w) || bounds(w);
  }

  bool operators(const std::string& w) {
    const bool value_next = starts_value(at(1));
    // "negative six"
    if ((w == "negative" || w == "minus") && begins_answer() && number_of_word(word(1)) >= 0) {
      sign('-');
      ++i_;
      return spelled_number(word(0)) || parts(word(0));
    }
    if (w == "negative" && value_next && !after_value()) return sign('-'), take(1);
    if (w == "minus" && value_next) return sign('-'), take(1);
    if (!after_value()) return false;
    if (w == "plus" && value_next) return sign('+'), take(1);
    if (w == "times" && value_next) return sign('*'), take(1);
    if (w == "over" && value_next) return sign('/'), take(1);
    const bool by = word(1) == "by" && starts_value(at(2));
    if (w == "divided" && by) return sign('/'), take(2);
    if (w == "multiplied" && by) return sign('*'), take(2);
    if (!after_number()) return false;
    // "5 less than 10", "5 more than x"
    const bool than =
        word(1) == "than" && (at(2).is(Kind::kNumber) || at(2).is(Kind::kLetter)) && ends_at(3);
    if (than && (w == "less" || w == "more" || w == "greater" || w == "fewer")) {
      Token number = std::move(out_.back());
      out_.back() = at(2);
      sign(w == "less" || w == "fewer" ? '-' : '+');
      out_.push_back(std::move(number));
      return take(3);
    }
    if (w == "out" && word(1) == "of" && at(2).is(Kind::kNumber)) return sign('/'), take(2);
    const bool pair = at(1).is(Kind::kNumber) && ends_at(2);
    if (w == "in" && pair) return sign('/'), take(1);
    const bool from = out_.size() > 1 && out_[out_.size() - 2].is(Kind::kWord);
    if (w == "to" && pair && !from) return sign(':'), take(1);
    return false;
  }

  // "twice 5", "half of 5", "the square root of 5"
  bool multiples(const std::string& w) {
    if (after_value()) return false;
    size_t next = 1;
    const int factor = w == "twice" || w == "double" ? 2 : w == "thrice" || w == "triple" ? 3 : 0;
    const int part = value_of(w, kParts);
    const bool of = word(1) == "of";
    if (of) ++next;
    if (word(next) == "the") ++next;
    if (factor > 0 && starts_value(at(next))) {
      number(factor);
      sign('*');
      return take(next);
    }
    const int times = number_of_word(w);  // "three times 5"
    if (times > 1 && word(1) == "times" && starts_value(at(2))) return number(times), take(1);
    if (part > 0 && (of || w == "half") && starts_value(at(next))) {
      number(1);
      sign('/');
      number(part);
      sign('*');
      return take(next);
    }
    const bool power =
        (w == "square" || w == "cube") && of && at(2).is(Kind::kNumber) && ends_at(3);
    if (power) {
      out_.push_back(at(2));
      sign('^');
      number(w == "square" ? 2 : 3);
      return take(3);
    }
    const bool root = (w == "square" || w == "cube") && word(1) == "root" && word(2) == "of";
    if (root && starts_value(at(3))) {
      put(Kind::kCommand, 0, "sqrt");
      if (w == "cube") {
        put(Kind::kOpen, '[', {});
        number(3);
        put(Kind::kClose, ']', {});
      }
      return take(3);
    }
    return false;
  }

  // "5 squared", "5 factorial", "5 dozen", "101 base 2"
  bool scripts(const std::string& w) {
    if (!after_value()) return false;
    if (w == "squared" || w == "cubed") {
      sign('^');
      number(w == "squared" ? 2 : 3);
      return take(1);
    }
    if (w == "factorial") return sign('!'), take(1);
    if (w == "dozen") return sign('*'), number(12), take(1);
    const int places = w == "tens" ? 10 : w == "hundreds" ? 100 : w == "thousands" ? 1000 : 0;
    if (places > 0 && ends_at(1)) return sign('*'), number(places), take(1);
    const bool in = w == "in" && word(1) == "base";
    if ((w == "base" || in) && after_number() && at(in ? 2 : 1).is(Kind::kNumber)) {
      sign('_');
      put(Kind::kOpen, '{', {});
      out_.push_back(at(in ? 2 : 1));
      put(Kind::kClose, '}', {});
      return take(in ? 3 : 2);
    }
    return false;
  }

  // "two thirds", "one-half", "3 quarters"
  bool parts(const std::string& w) {
    const int count = number_of_word(w);
    if (count >= 1 && count <= 20) {
      const size_t next = at(1).is(Kind::kOperator, '-') ? 2 : 1;
      const int part = value_of(word(next), kParts);
      const bool plural = word(next).ends_with('s');
      if (part > 0 && plural == (count > 1) && ends_at(next + 1)) {
        number(count);
        sign('/');
        number(part);
        return take(next + 1);
      }
      // "two thirds of 6"
      if (part > 0 && word(next + 1) == "of" && starts_value(at(next + 2))) {
        number(count);
        sign('/');
        number(part);
        sign('*');
        return take(next + 2);
      }
      if (word(1) == "over" && starts_value(at(2))) return number(count), sign('/'), take(2);
      if ((word(1) == "less" || word(1) == "more") && word(2) == "than" && starts_value(at(3)))
        return number(count), take(1);
    }
    const int part = value_of(w, kParts);
    if (part > 0 && after_number() && ends_at(1)) {
      const bool plural = w.ends_with('s');
      if (plural == (out_.back().text != "1")) return sign('/'), number(part), take(1);
    }
    return false;
  }

  // "forty-two", alone or before a unit.
  bool spelled_number(const std::string& w) {
    const bool minus = out_.size() == 1 && out_.back().is(Kind::kOperator, '-');
    int value = begins_answer() || minus ? number_of_word(w) : -1;
    if (value < 0) return false;
    size_t next = 1;
    if (value >= 20) {
      const size_t unit = at(1).is(Kind::kOperator, '-') ? 2 : 1;
      const int small = number_of_word(word(unit));
      if (small >= 1 && small <= 9) {
        value += small;
        next = unit + 1;
      }
    }
    if (word(next) == "hundred" && value < 10) {
      value *= 100;
      ++next;
    }
    const bool unit = at(next).is(Kind::kWord) && is_unit(at(next).text) && ends_at(next + 1);
    if (!ends_at(next) && !unit) return false;
    number(value);
    return take(next);
  }

  bool bounds(const std::string& w) {
    const std::string second = word(1);
    const bool than = one_of(w, kThan) && (second == "than" || second == "from");
    const bool at_most = (w == "at" && (second == "most" || second == "least")) ||
                         (w == "up" && second == "to") || (w == "all" && second == "but") ||
                         (w == "nothing" && second == "but") || (w == "from" && after_range());
    const bool beside = one_of(w, kBoundsAtValue) && starts_value(at(1)) && !after_value();
    const bool ordinal = !out_.empty() && out_.back().is(Kind::kWord) &&
                         (out_.back().text == "th" || out_.back().text == "st" ||
                          out_.back().text == "nd" || out_.back().text == "rd");
    const bool root =
        (w == "root" || w == "power") && (ordinal || (second == "of" && starts_value(at(2))));
    if (!than && !at_most && !beside && !root && !one_of(w, kBounds)) return false;
    out_.push_back(in_[i_++]);
    out_.back().changes = true;
    return true;
  }

  // "from 3 to 5"
  bool after_range() const { return at(1).is(Kind::kNumber) && word(2) == "to"; }

  const Tokens in_;
  Tokens out_;
  size_t i_ = 0;
};

}  // namespace

int number_of_word(const std::string& word) { return value_of(word, kNumbers); }

void rewrite_words(Tokens* tokens) { *tokens = WordRewriter(tokens).run(); }

}  // namespace zeroth::math
