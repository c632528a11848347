// Commands, their groups, and prose inside formulas.
#include <algorithm>
#include <array>

#include "rewards/math/expr.h"
#include "rewards/math/lexer_class.h"

namespace zeroth::math {

namespace {

template <size_t N>
bool one_of(std::string_view word, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

}  // namespace

void Lexer::skip_blanks() {
  while (is_blank(peek())) ++pos_;
}

// The content of the group at the cursor, which moves past it; an unterminated group runs to the
// end.
std::string_view Lexer::group() {
  skip_blanks();
  if (peek() != '{') {
    std::string_view one = source_.substr(pos_, pos_ < source_.size() ? 1 : 0);
    pos_ += one.size();
    return one;
  }
  size_t begin = ++pos_;
  int depth = 1;
  for (; pos_ < source_.size(); ++pos_) {
    char c = source_[pos_];
    if (c == '\\') {
      ++pos_;
    } else if (c == '{') {
      ++depth;
    } else if (c == '}' && --depth == 0) {
      ++pos_;
      return source_.substr(begin, pos_ - 1 - begin);
    }
  }
  pos_ = source_.size();
  return source_.substr(begin);
}

void Lexer::command() {
  char next = peek(1);
  if (!is_letter(next)) return control_symbol(next);
  ++pos_;
  size_t begin = pos_;
  while (is_letter(peek())) ++pos_;
  std::string_view name = source_.substr(begin, pos_ - begin);
  if (is_layout_command(name)) {
    if (name == "left" || name == "right" || name == "middle") {
      skip_blanks();
      if (peek() == '.') ++pos_;
    }
    if (name == "ast") push(Kind::kOperator, '*');
    return;
  }
  if (is_space_command(name)) {
    space_ = true;
    return;
  }
  if (drops_argument(name)) {
    group();
    return;
  }
  if (name == "cr") {
    push(Kind::kSeparator, 'n');
    return;
  }
  if (is_font_command(name)) return;  // the group that follows is plain grouping
  if (is_text_command(name)) return text_group(name);
  if (name == "not" && negated_relation()) return;
  if (char code = relation_code(name); code != 0) {
    push(code == ':' ? Kind::kOperator : Kind::kRelation, code);
    return;
  }
  named_token(name);
}

// What stands behind \\not: "=" or \\in.
bool Lexer::negated_relation() {
  skip_blanks();
  const bool equal = peek() == '=', member = rest_starts("\\in") && !is_letter(peek(3));
  if (!equal && !member) return false;
  pos_ += equal ? 1 : 3;
  push(Kind::kRelation, equal ? kNe : kNotIn);
  return true;
}

void Lexer::named_token(std::string_view name) {
  if (NamedToken named = named_command(name); named.kind != Kind::kEnd) {
    if (named.kind == Kind::kOpen) ++parens_;
    if (named.kind == Kind::kClose) --parens_;
    push(named.kind, named.ch);
    return;
  }
  // "\quadx": a spacing command glued to what follows.
  for (std::string_view glued : {std::string_view("quad"), std::string_view("qquad")}) {
    if (name.starts_with(glued)) {
      space_ = true;
      pos_ -= name.size() - glued.size();
      return;
    }
  }
  push(Kind::kCommand, 0, std::string(name));
}

void Lexer::control_symbol(char next) {
  if (next == '\\') {
    if (doubled_ && is_letter(peek(2))) {
      ++pos_;
      return;
    }
    pos_ += 2;
    push(Kind::kSeparator, 'n');
    row_height();
    return;
  }
  pos_ += next == '\0' || is_digit(next) ? 1 : 2;
  switch (next) {
    case '{':
      ++parens_;
      push(Kind::kOpen, 'S');
      return;
    case '}':
      --parens_;
      push(Kind::kClose, 'S');
      return;
    case '|':
      push(Kind::kBar, 'N');
      return;
    case '%':
      push(Kind::kPercent);
      return;
    case '_':
      return;
    case ',':
    case ';':
    case ':':
    case ' ':
    case '>':
    case '\n':
      space_ = true;
      return;
    default:
      return;  // \! \$ \& \# \- \/ \( \) \[ \] carry no mathematics
  }
}

std::string_view Lexer::trim(std::string_view text) {
  while (!text.empty() && (is_blank(text.front()) || text.front() == '~')) text.remove_prefix(1);
  while (!text.empty() && (is_blank(text.back()) || text.back() == '~')) text.remove_suffix(1);
  return text;
}

void Lexer::text_group(std::string_view command_name) {
  std::string_view content = group();
  std::string_view inner = trim(content);
  while (inner.size() >= 2 && inner.front() == '{' && inner.back() == '}')
    inner = trim(inner.substr(1, inner.size() - 2));
  if (inner.empty()) {
    space_ = true;
    return;
  }
  if (inner.size() == 3 && inner.front() == '(' && inner.back() == ')' && is_letter(inner[1])) {
    inner = inner.substr(1, 1);  // a choice letter
  }
  if (inner == "th" || inner == "st" || inner == "nd" || inner == "rd") {
    push(Kind::kWord, 0, std::string(inner)).upright = true;
    return;
  }
  if (one_of(command_name, std::to_array<std::string_view>({"mathrm", "operatorname"})) &&
      inner.size() > 1 && std::all_of(inner.begin(), inner.end(), is_letter) && !is_unit(inner) &&
      !is_upright_unit(inner)) {
    push(Kind::kCommand, 0, std::string(inner)).upright = true;
    return;
  }
  if (depth_ > 8) return;
  lex_inner(inner, content);
}

// Reads prose inside the formula: letters form words, numbers stay numbers.
void Lexer::lex_inner(std::string_view inner, std::string_view content) {
  std::string_view saved_source = source_;
  size_t saved_pos = pos_;
  bool saved_conjunction = inner_conjunction_;
  // "and" inside a long phrase joins words; at its rim, or between numbers, it separates answers.
  bool rim = inner == "and" || inner == "or" || inner.ends_with(" and") || inner.ends_with(" or") ||
             inner.starts_with("and ") || inner.starts_with("or ") || inner.starts_with(", and") ||
             inner.find_first_of("0123456789=$") != std::string_view::npos || content.size() < 12;
  inner_conjunction_ = !rim;
  source_ = inner;
  pos_ = 0;
  ++text_depth_;
  ++depth_;
  space_ = true;
  while (pos_ < source_.size() && static_cast<int>(tokens_.size()) < options_.max_tokens) step();
  --depth_;
  --text_depth_;
  space_ = true;
  source_ = saved_source;
  pos_ = saved_pos;
  inner_conjunction_ = saved_conjunction;
}
}  // namespace zeroth::math
