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

namespace {

using Kind = Token::Kind;

// A sign of two bytes; kEnd for none.
NamedToken double_sign(char first, char second) {
  switch (first) {
    case '+':
      if (second == '-') return {Kind::kOperator, 'P'};
      break;
    case '*':
      if (second == '*') return {Kind::kOperator, '^'};
      break;
    case '!':
      if (second == '=') return {Kind::kRelation, kNe};
      break;
    case '=':
      if (second == '<') return {Kind::kRelation, kLe};
      if (second == '>') return {Kind::kRelation, kGe};
      if (second == '=') return {Kind::kRelation, kEq};
      break;
    case '<':
    case '>':
      if (second == '=') return {Kind::kRelation, first == '<' ? kLe : kGe};
      break;
    case '|':
      if (second == '|') return {Kind::kBar, 'N'};
      break;
    default:
      break;
  }
  return {Kind::kEnd, 0};
}

// A sign of one byte; a letter for a byte that stands for nothing but itself.
NamedToken single_sign(char c) {
  switch (c) {
    case '+':
    case '*':
    case '-':
    case '/':
    case '^':
    case '_':
    case '\'':
    case ':':
    case '!':
      return {Kind::kOperator, c};
    case '=':
    case '<':
    case '>':
      return {Kind::kRelation, c};
    case '(':
    case '[':
    case '{':
      return {Kind::kOpen, c};
    case ')':
    case ']':
    case '}':
      return {Kind::kClose, c};
    case '|':
      return {Kind::kBar, c};
    case ',':
    case ';':
      return {Kind::kSeparator, c};
    case '&':
      return {Kind::kCell, 0};
    case '%':
      return {Kind::kPercent, 0};
    default:
      return {Kind::kLetter, 0};
  }
}

}  // namespace

void Lexer::punctuation(char c) {
  if (c == '$' || c == '"' || c == '`') return;
  if (c == '.') {
    if (!rest_starts("..")) return;  // a full stop
    pos_ += 2;
    push(Kind::kCommand, 0, "dots");
    return;
  }
  if (c == '{' && rest_starts(",}")) {  // thousands separator outside a number: a comma
    pos_ += 2;
    push(Kind::kSeparator, ',');
    return;
  }
  NamedToken sign = double_sign(c, peek());
  if (sign.kind != Kind::kEnd) {
    ++pos_;
  } else {
    sign = single_sign(c);
  }
  if (c == '(' || c == '[') ++parens_;
  if (c == ')' || c == ']') --parens_;
  // ? @ #: a symbol that equals only itself
  push(sign.kind, sign.ch, sign.kind == Kind::kLetter ? std::string(1, c) : std::string());
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
  const size_t begin = pos_;
  while (is_letter(peek())) ++pos_;
  const std::string_view run = source_.substr(begin, pos_ - begin);
  const char before = begin > 0 ? source_[begin - 1] : '\0';
  const bool after_value = is_digit(before) || before == ')' || before == '}';
  const bool prose = text_depth_ > 0 || prose_;
  if (conjunction(run) || half_day(run)) return;
  if (after_value && glued_conjunction(run, begin)) return;
  // In italics "mg" may be a product, mass times gravity: the comparison takes it as either.
  const bool product = !prose && (run == "mg" || run == "ms" || run == "ml");
  const bool unit = run.size() >= 2 && last_is(Kind::kNumber) && is_unit(run) && !product;
  // "5 min" and "30 sec" are no functions.
  const bool last_unit = unit && at_end_of_clause();
  if (!last_unit && spelled_command(run)) return;
  if (prose) {
    word_of_prose(run);
    return;
  }
  if (!last_unit && split_function(run, begin)) return;
  const bool ordinal = after_value && (run == "th" || run == "st" || run == "nd" || run == "rd");
  if (run.size() >= 4 || ordinal || unit || is_short_word(run)) {
    push(Kind::kWord, 0, std::string(run));
    return;
  }
  push_letters(run);
}

// "and" and "or" separate values, or join words inside a phrase. Those of other languages count
// between values of prose.
bool Lexer::conjunction(std::string_view run) {
  if (run == "and" || run == "or" || run == "AND" || run == "OR") {
    if (text_depth_ > 0 && inner_conjunction_) {
      push(Kind::kWord, 0, std::string(run));
    } else {
      push(Kind::kSeparator, (run[0] | 32) == 'o' ? 'o' : '&');
    }
    return true;
  }
  const bool foreign = run == "oder" || run == "ou" || run == "und";
  if (!foreign || (text_depth_ == 0 && !prose_)) return false;
  push(Kind::kSeparator, run == "und" ? '&' : 'o');
  return true;
}

// "1orW(x)": a separator that lost its blanks. `begin` is the run's place, behind a value.
bool Lexer::glued_conjunction(std::string_view run, size_t begin) {
  const size_t n = run.starts_with("or") ? 2 : 3;
  if ((n == 3 && !run.starts_with("and")) || is_unit(run) || run.size() - n > 2) return false;
  push(Kind::kSeparator, n == 2 ? 'o' : '&');
  pos_ = begin + n;
  return true;
}

// Nothing, or a mark that ends a clause or group, comes next.
bool Lexer::at_end_of_clause() const {
  const size_t next = source_.find_first_not_of(" \n", pos_);
  return next == std::string_view::npos ||
         std::string_view(".,;}").find(source_[next]) != std::string_view::npos;
}

// Names of functions and letters that plain text spells without a backslash, "oo", "percent".
bool Lexer::spelled_command(std::string_view run) {
  if (run.size() > 1 && is_known_name(run)) {
    push(Kind::kCommand, 0, std::string(run));
  } else if (run == "oo") {
    push(Kind::kCommand, 0, "infty");
  } else if (run == "percent" || run == "percentage" || run == "pct" || run == "Percent") {
    push(Kind::kPercent);
  } else {
    return false;
  }
  return true;
}

// A word, or a letter alone; but the "p" and "m" of "p.m." are words.
void Lexer::word_of_prose(std::string_view run) {
  const bool abbreviation =
      peek() == '.' && (is_letter(peek(1)) || (pos_ >= 3 && source_[pos_ - 2] == '.'));
  const bool letter = run.size() == 1 && !abbreviation;
  push(letter ? Kind::kLetter : Kind::kWord, 0, std::string(run));
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
