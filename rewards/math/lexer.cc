// Numbers, letters and signs.
#include <algorithm>
#include <array>

#include "rewards/math/expr.h"
#include "rewards/math/lexer_class.h"

namespace zeroth::math {

bool Lexer::run() {
  while (pos_ < source_.size()) {
    if (static_cast<int>(tokens_.size()) >= options_.max_tokens) return false;
    step();
  }
  push(Kind::kEnd);
  return true;
}

void Lexer::step() {
  char c = peek();
  if (is_blank(c) || c == '~') {
    if (c == '~' && peek(1) == '=') {
      push(Kind::kRelation, kApprox);
      pos_ += 2;
      return;
    }
    space_ = true;
    ++pos_;
    return;
  }
  if (c == '\\') return command();
  if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
  if (is_letter(c)) return letters();
  if (c == '\x01') return foreign();
  ++pos_;
  punctuation(c);
}

void Lexer::punctuation(char c) {
  auto next_is = [&](char want) { return peek() == want; };
  switch (c) {
    case '+':
      if (next_is('-')) {
        ++pos_;
        push(Kind::kOperator, 'P');
        return;
      }
      push(Kind::kOperator, '+');
      return;
    case '*':
      if (next_is('*')) {
        ++pos_;
        push(Kind::kOperator, '^');
        return;
      }
      push(Kind::kOperator, '*');
      return;
    case '-':
    case '/':
    case '^':
    case '_':
    case '\'':
    case ':':
      push(Kind::kOperator, c);
      return;
    case '!':
      if (next_is('=')) {
        ++pos_;
        push(Kind::kRelation, kNe);
        return;
      }
      push(Kind::kOperator, '!');
      return;
    case '=':
      if (next_is('<') || next_is('>')) {
        push(Kind::kRelation, peek() == '<' ? kLe : kGe);
        ++pos_;
        return;
      }
      if (next_is('=')) ++pos_;
      push(Kind::kRelation, kEq);
      return;
    case '<':
    case '>':
      if (next_is('=')) {
        ++pos_;
        push(Kind::kRelation, c == '<' ? kLe : kGe);
        return;
      }
      push(Kind::kRelation, c == '<' ? kLt : kGt);
      return;
    case '(':
    case '[':
      ++parens_;
      push(Kind::kOpen, c);
      return;
    case ')':
    case ']':
      --parens_;
      push(Kind::kClose, c);
      return;
    case '{':
      if (rest_starts(",}")) {  // thousands separator outside a number: a comma
        pos_ += 2;
        push(Kind::kSeparator, ',');
        return;
      }
      push(Kind::kOpen, c);
      return;
    case '}':
      push(Kind::kClose, c);
      return;
    case '|':
      if (next_is('|')) {
        ++pos_;
        push(Kind::kBar, 'N');
        return;
      }
      push(Kind::kBar, '|');
      return;
    case ',':
    case ';':
      push(Kind::kSeparator, c);
      return;
    case '&':
      push(Kind::kCell);
      return;
    case '%':
      push(Kind::kPercent);
      return;
    case '.':
      if (rest_starts("..")) {
        pos_ += 2;
        push(Kind::kCommand, 0, "dots");
      }
      return;  // a full stop
    case '$':
    case '"':
    case '`':
      return;
    default:
      push(Kind::kLetter, 0, std::string(1, c));  // ? @ #: a symbol that equals only itself
  }
}

// Digits with separators, decimals, exponent. See docs/math.md for what counts as a thousands
// separator.
void Lexer::number() {
  std::string digits;
  if (is_digit(peek()) && in_fraction()) {  // \frac12 takes single digits
    push(Kind::kNumber, 0, std::string(1, source_[pos_++]));
    return;
  }
  size_t begin = pos_;
  auto take = [&] {
    while (is_digit(peek())) digits.push_back(source_[pos_++]);
  };
  auto three_digits_at = [&](size_t at) {
    for (size_t i = 0; i < 3; ++i) {
      if (at + i >= source_.size() || !is_digit(source_[at + i])) return false;
    }
    return at + 3 >= source_.size() || !is_digit(source_[at + 3]);
  };
  take();
  if (digits.size() >= 1 && digits.size() <= 3 && digits[0] != '0') {
    for (size_t skip = 0; (skip = group_separator()) != 0 && three_digits_at(pos_ + skip);) {
      pos_ += skip;
      take();
    }
  }
  bool decimal_comma = options_.plain && peek() == ',' && is_digit(peek(1)) && parens_ == 0 &&
                       digits.size() == pos_ - begin;
  const size_t mark = digits.size() == pos_ - begin ? braced_mark() : 0;
  if ((peek() == '.' && is_digit(peek(1))) || decimal_comma || mark != 0) {
    pos_ += std::max<size_t>(mark, 1);
    digits.push_back('.');
    take();
  } else if (peek() == '.' && !digits.empty() &&
             (rest_starts(".\\overline") || rest_starts(".\\bar") || rest_starts(".\\dot") ||
              rest_starts(".("))) {
    ++pos_;
    digits.push_back('.');
  }
  if ((peek() == 'e' || peek() == 'E') && !prose_) {
    size_t sign = peek(1) == '+' || peek(1) == '-' ? 2 : 1;
    if (is_digit(peek(sign))) {
      size_t end = pos_ + sign;
      while (end < source_.size() && is_digit(source_[end])) ++end;
      if (end == source_.size() || !is_letter(source_[end])) {
        digits.append(source_.substr(pos_, end - pos_));
        pos_ = end;
      }
    }
  }
  if (begin != pos_) recurring(&digits);
  if (digits.ends_with('.') && !rest_starts("\\overline") && !rest_starts("\\bar"))
    digits.pop_back();
  push(Kind::kNumber, 0, std::move(digits));
}

// The cursor stands where an argument of \frac without braces begins.
bool Lexer::in_fraction() const {
  auto is_fraction = [&](size_t back) {
    if (tokens_.size() < back) return false;
    const Token& t = tokens_[tokens_.size() - back];
    return t.is(Kind::kCommand) &&
           (t.text == "frac" || t.text == "dfrac" || t.text == "tfrac" || t.text == "cfrac");
  };
  if (is_fraction(1)) return true;
  return is_fraction(2) && last_is(Kind::kNumber) && tokens_.back().text.size() == 1;
}

// Length of a thousands separator at the cursor, 0 when there is none: "{,}" or ",\!" anywhere, a
// comma, a blank or a thin space outside brackets (inside them it separates members).
size_t Lexer::group_separator() const {
  size_t brace = pos_;
  while (brace < source_.size() && source_[brace] == ' ') ++brace;
  if (brace < source_.size() && source_[brace] == '{') {  // {,} with any blanks
    size_t end = source_.find('}', brace);
    if (end != std::string_view::npos && end - brace < 6 &&
        trim(source_.substr(brace + 1, end - brace - 1)) == ",") {
      return end + 1 - pos_;
    }
  }
  if (rest_starts(",\\!")) {
    size_t n = 3;
    while (peek(n) == ' ') ++n;
    return n;
  }
  if (rest_starts("\\!") || rest_starts("\\,")) {
    size_t n = 2;
    while (peek(n) == ' ') ++n;
    return n;
  }
  if (parens_ == 0 && ((peek() == ',' && options_.comma_groups) || peek() == ' ' || peek() == '~'))
    return 1;
  return 0;
}

// Length of a decimal mark in braces, "{.}" or the "{,}" that is no thousands separator.
size_t Lexer::braced_mark() const {
  bool mark = peek() == '{' && (peek(1) == '.' || peek(1) == ',') && peek(2) == '}';
  return mark && is_digit(peek(3)) ? 3 : 0;
}

void Lexer::letters() {
  size_t begin = pos_;
  while (is_letter(peek())) ++pos_;
  std::string_view run = source_.substr(begin, pos_ - begin);
  bool after_digit = begin > 0 && (is_digit(source_[begin - 1]) || source_[begin - 1] == ')' ||
                                   source_[begin - 1] == '}');
  if (run == "and" || run == "or" || run == "AND" || run == "OR") {
    if (!(text_depth_ > 0 && inner_conjunction_)) {
      push(Kind::kSeparator, (run[0] | 32) == 'o' ? 'o' : '&');
      return;
    }
    push(Kind::kWord, 0, std::string(run));
    return;
  }
  // The conjunctions of other languages, between values.
  if ((text_depth_ > 0 || prose_) && (run == "oder" || run == "ou" || run == "und")) {
    push(Kind::kSeparator, run == "und" ? '&' : 'o');
    return;
  }
  if (half_day(run)) return;
  if (after_digit && (run.starts_with("or") || run.starts_with("and")) && !is_unit(run)) {
    size_t n = run.starts_with("or") ? 2 : 3;
    if (run.size() - n <= 2) {  // "1orW(x)": a separator that lost its blanks
      push(Kind::kSeparator, n == 2 ? 'o' : '&');
      pos_ = begin + n;
      return;
    }
  }
  // "5 min" and "30 sec" are no functions.
  size_t next = source_.find_first_not_of(" \n", pos_);
  bool ends = next == std::string_view::npos ||
              std::string_view(".,;}").find(source_[next]) != std::string_view::npos;
  // In italics "mg" may be a product, mass times gravity: the comparison takes it as either.
  const bool product = text_depth_ == 0 && !prose_ && (run == "mg" || run == "ms" || run == "ml");
  bool unit = run.size() >= 2 && last_is(Kind::kNumber) && is_unit(run) && !product;
  if (run.size() > 1 && is_known_name(run) && !(unit && ends)) {
    push(Kind::kCommand, 0, std::string(run));
    return;
  }
  if (run == "oo") {
    push(Kind::kCommand, 0, "infty");
    return;
  }
  if (run == "percent" || run == "percentage" || run == "pct" || run == "Percent") {
    push(Kind::kPercent);
    return;
  }
  if (text_depth_ > 0 || prose_) {
    bool abbreviation =
        peek() == '.' && (is_letter(peek(1)) || (pos_ >= 3 && source_[pos_ - 2] == '.'));
    if (run.size() == 1 && !abbreviation) {  // but the "p" and "m" of "p.m." are words
      push(Kind::kLetter, 0, std::string(run));
    } else {
      push(Kind::kWord, 0, std::string(run));
    }
    return;
  }
  if (unit && ends) {
    push(Kind::kWord, 0, std::string(run));
    return;
  }
  if (split_function(run, begin)) return;
  bool ordinal = after_digit && (run == "th" || run == "st" || run == "nd" || run == "rd");
  if (run.size() >= 4 || ordinal || unit || is_short_word(run)) {
    push(Kind::kWord, 0, std::string(run));
    return;
  }
  push_letters(run);
}

// "a.m." and "p.m." behind a number: one word.
bool Lexer::half_day(std::string_view run) {
  bool half = (run == "a" || run == "p" || run == "A" || run == "P") && last_is(Kind::kNumber);
  if (!half || peek() != '.' || (peek(1) != 'm' && peek(1) != 'M') || is_letter(peek(2)))
    return false;
  pos_ += peek(2) == '.' ? 3 : 2;
  push(Kind::kWord, 0, (run[0] | 32) == 'a' ? "am" : "pm");
  return true;
}

void Lexer::push_letters(std::string_view run) {
  for (size_t i = 0; i < run.size(); ++i) {
    push(Kind::kLetter, 0, std::string(1, run[i])).in_run = i > 0;
  }
}

// "sinx", "2sqrt", "xln": a function name glued to at most two letters.
bool Lexer::split_function(std::string_view run, size_t begin) {
  static constexpr auto kGlued =
      std::to_array<std::string_view>({"sqrt", "arcsin", "arccos", "arctan", "sin", "cos", "tan",
                                       "cot", "sec", "csc", "log", "ln", "exp", "pi"});
  for (std::string_view name : kGlued) {
    size_t at = run.find(name);
    if (at == std::string_view::npos || run.size() - name.size() > (name == "sqrt" ? 3 : 1))
      continue;
    push_letters(run.substr(0, at));
    push(Kind::kCommand, 0, std::string(name));
    pos_ = begin + at + name.size();
    return true;
  }
  return false;
}

bool tokenize(std::string_view source, const LexOptions& options, std::vector<Token>* tokens) {
  tokens->clear();
  return Lexer(source, options, tokens).run();
}

}  // namespace zeroth::math
