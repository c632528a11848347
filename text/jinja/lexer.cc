#include "text/jinja/lexer.h"

#include <algorithm>
#include <cstring>

#include "text/jinja/error.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

bool is_name_start(unsigned char c) { return std::isalpha(c) != 0 || c == '_' || c >= 0x80; }
bool is_name_part(unsigned char c) { return is_name_start(c) || std::isdigit(c) != 0; }

// "\n" for every line end, without the one at the end of the text.
std::string with_plain_newlines(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\r') {
      out += '\n';
      if (i + 1 < text.size() && text[i + 1] == '\n') ++i;
    } else {
      out += text[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

size_t white_space_length(std::string_view text) {
  return text.size() - stripped(text, Side::kLeft).size();
}

class Lexer {
 public:
  Lexer(std::string_view text, std::string source)
      : source_(std::move(source)), text_(with_plain_newlines(text)) {}

  std::vector<Token> run() {
    while (at_ < text_.size()) read_root();
    add(TokenKind::kEnd);
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail_here(const std::string& reason) const {
    throw TemplateError(Fault::kSyntax, reason, line_, source_);
  }
  std::string_view rest() const { return std::string_view(text_).substr(at_); }
  void advance(size_t bytes) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<long>(at_),
                                         text_.begin() + static_cast<long>(at_ + bytes), '\n'));
    at_ += bytes;
  }
  Token& add(TokenKind kind, std::string text = "") {
    Token& token = tokens_.emplace_back();
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    return token;
  }

  // Text up to the next mark, then what the mark opens.
  void read_root() {
    const size_t begin = next_mark();
    if (begin == std::string::npos) {
      if (at_ < text_.size()) add(TokenKind::kData, std::string(rest()));
      return advance(text_.size() - at_);
    }
    const char kind = text_[begin + 1];
    size_t behind = begin + 2;
    char sign = 0;
    if (behind < text_.size() && (text_[behind] == '-' || text_[behind] == '+')) {
      sign = text_[behind++];
    }
    add_data(std::string_view(text_).substr(at_, begin - at_), sign, kind == '{');
    if (kind == '%') {
      if (const size_t raw = raw_begin_length(behind); raw > 0) {
        advance(raw - at_);
        return read_raw();
      }
    }
    advance(behind - at_);
    line_starting_ = text_[at_ - 1] == '\n';
    if (kind == '#') return read_comment();
    add(kind == '%' ? TokenKind::kBlockBegin : TokenKind::kVariableBegin);
    read_expression(kind);
  }

  size_t next_mark() const {
    for (size_t at = text_.find('{', at_); at != std::string::npos && at + 1 < text_.size();
         at = text_.find('{', at + 1)) {
      if (text_[at + 1] == '%' || text_[at + 1] == '{' || text_[at + 1] == '#') return at;
    }
    return std::string::npos;
  }

  // Text before a mark, without what the mark's sign or lstrip_blocks takes away.
  void add_data(std::string_view data, char sign, bool before_variable) {
    if (sign == '-') {
      data = stripped(data, Side::kRight);
    } else if (sign != '+' && !before_variable) {
      const size_t newline = data.rfind('\n');
      const size_t start = newline == std::string_view::npos ? 0 : newline + 1;
      if ((start > 0 || line_starting_) && start < data.size() &&
          white_space_length(data.substr(start)) == data.size() - start) {
        data = data.substr(0, start);
      }
    }
    if (!data.empty()) add(TokenKind::kData, std::string(data));
  }

  // Where {% raw %} ends when the block mark before `at` opens one; 0: it does not.
  size_t raw_begin_length(size_t at) const {
    at += white_space_length(std::string_view(text_).substr(at));
    if (text_.compare(at, 3, "raw") != 0) return 0;
    at += 3;
    at += white_space_length(std::string_view(text_).substr(at));
    if (text_.compare(at, 3, "-%}") == 0) {
      return at + 3 + white_space_length(std::string_view(text_).substr(at + 3));
    }
    return text_.compare(at, 2, "%}") == 0 ? at + 2 : 0;
  }

  void read_raw() {
    for (size_t begin = text_.find("{%", at_); begin != std::string::npos;
         begin = text_.find("{%", begin + 1)) {
      size_t at = begin + 2;
      char sign = 0;
      if (at < text_.size() && (text_[at] == '-' || text_[at] == '+')) sign = text_[at++];
      at += white_space_length(std::string_view(text_).substr(at));
      if (text_.compare(at, 6, "endraw") != 0) continue;
      at += 6;
      at += white_space_length(std::string_view(text_).substr(at));
      const size_t end = mark_end(at, '%');
      if (end == 0) continue;
      line_starting_ = at_ > 0 && text_[at_ - 1] == '\n';
      add_data(std::string_view(text_).substr(at_, begin - at_), sign, false);
      advance(end - at_);
      line_starting_ = text_[at_ - 1] == '\n';
      return;
    }
    if (at_ < text_.size()) fail_here("Missing end of raw directive");
  }

  void read_comment() {
    for (size_t at = at_; at < text_.size(); ++at) {
      if (const size_t end = mark_end(at, '#'); end > 0) {
        advance(end - at_);
        line_starting_ = text_[at_ - 1] == '\n';
        return;
      }
    }
    if (at_ < text_.size()) fail_here("Missing end of comment tag");
  }

  // Where a closing mark at `at` ends, white space and newline that it takes included; 0: none
  // there.
  size_t mark_end(size_t at, char kind) const {
    const char sign = at < text_.size() ? text_[at] : 0;
    const bool plus = sign == '+' && kind != '}';  // "+}}" is no mark
    const size_t mark = sign == '-' || plus ? at + 1 : at;
    if (mark + 1 >= text_.size() || text_[mark] != kind || text_[mark + 1] != '}') return 0;
    const size_t end = mark + 2;
    if (sign == '-') return end + white_space_length(std::string_view(text_).substr(end));
    if (plus || kind == '}' || end >= text_.size() || text_[end] != '\n') return end;
    return end + 1;
  }

  void read_expression(char kind) {
    open_.clear();
    const char closing = kind == '{' ? '}' : '%';
    while (true) {
      if (at_ >= text_.size()) return;  // the parser says what is missing
      if (open_.empty()) {
        if (const size_t end = mark_end(at_, closing); end > 0) {
          add(kind == '{' ? TokenKind::kVariableEnd : TokenKind::kBlockEnd);
          advance(end - at_);
          line_starting_ = text_[at_ - 1] == '\n';
          return;
        }
      }
      if (const size_t blank = white_space_length(rest()); blank > 0) {
        advance(blank);
      } else if (!read_number() && !read_name() && !read_text() && !read_operator()) {
        fail_here("unexpected char " + repr_text(characters(rest(), 0, 1)));
      }
    }
  }

  // Digits with single underscores between them, from `at`; returns where they end.
  template <class IsDigit>
  size_t digits_end(size_t at, const IsDigit& is_digit) const {
    size_t end = at;
    while (end < text_.size()) {
      const size_t next = text_[end] == '_' && end > at ? end + 1 : end;
      if (next >= text_.size() || !is_digit(static_cast<unsigned char>(text_[next]))) break;
      end = next + 1;
    }
    return end;
  }

  bool read_number() {
    const auto decimal = [](unsigned char c) { return std::isdigit(c) != 0; };
    if (!decimal(static_cast<unsigned char>(text_[at_]))) return false;
    const size_t whole = digits_end(at_, decimal);
    size_t end = whole;
    if (end + 1 < text_.size() && text_[end] == '.' &&
        decimal(static_cast<unsigned char>(text_[end + 1]))) {
      end = digits_end(end + 1, decimal);
    }
    if (end < text_.size() && (text_[end] | 0x20) == 'e') {
      size_t exponent = end + 1;
      if (exponent < text_.size() && (text_[exponent] == '+' || text_[exponent] == '-')) ++exponent;
      const size_t after = digits_end(exponent, decimal);
      if (after > exponent) end = after;
    }
    // "1.0" behind a dot is an index and a name's dot again, as in a.1.0.
    const bool after_dot = at_ > 0 && text_[at_ - 1] == '.';
    if (end > whole && !after_dot) {
      Token& token = add(TokenKind::kReal);
      parse_real(rest().substr(0, end - at_), token.real);
      advance(end - at_);
      return true;
    }
    read_integer();
    return true;
  }

  void read_integer() {
    size_t end = at_ + 1;
    int base = 10;
    if (text_[at_] == '0' && at_ + 1 < text_.size()) {
      const char kind = static_cast<char>(text_[at_ + 1] | 0x20);
      const int named = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
      const size_t start = at_ + 2 + (at_ + 2 < text_.size() && text_[at_ + 2] == '_');
      const auto in_base = [&](unsigned char c) {
        return named == 16 ? std::isxdigit(c) != 0 : c >= '0' && c < '0' + named;
      };
      if (named != 0 && digits_end(start, in_base) > start) {
        base = named;
        end = digits_end(start, in_base);
      }
    }
    if (base == 10) {
      const bool zero = text_[at_] == '0';  // 0 and 00, but 01 are two numbers
      end =
          digits_end(at_, [&](unsigned char c) { return zero ? c == '0' : std::isdigit(c) != 0; });
    }
    Token& token = add(TokenKind::kInteger);
    try {
      parse_whole(rest().substr(0, end - at_), base == 10 ? 10 : 0, token.integer);
    } catch (const Failure& failure) {
      throw TemplateError(failure.fault, failure.reason, line_, source_);
    }
    advance(end - at_);
  }

  bool read_name() {
    if (!is_name_start(static_cast<unsigned char>(text_[at_]))) return false;
    size_t end = at_ + 1;
    while (end < text_.size() && is_name_part(static_cast<unsigned char>(text_[end]))) ++end;
    std::string name(rest().substr(0, end - at_));
    for (std::string_view part = name; !part.empty();) {
      const Character c = first_character(part);
      if (c.code >= 0x80 && !is_alphabetic(c.code)) {
        fail_here("Invalid character in identifier");
      }
      part.remove_prefix(static_cast<size_t>(c.bytes));
    }
    add(TokenKind::kName, std::move(name));
    advance(end - at_);
    return true;
  }

  bool read_text() {
    const char quote = text_[at_];
    if (quote != '\'' && quote != '"') return false;
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) end += text_[end] == '\\' ? 2 : 1;
    if (end >= text_.size()) return false;
    const std::string_view body = rest().substr(1, end - at_ - 1);
    add(TokenKind::kText, unescaped(body));
    advance(end + 1 - at_);
    return true;
  }

  // Python's "unicode-escape".
  std::string unescaped(std::string_view body) const {
    std::string out;
    while (!body.empty()) {
      if (body[0] != '\\') {
        out += body[0];
        body.remove_prefix(1);
        continue;
      }
      const char kind = body.size() > 1 ? body[1] : 0;
      body.remove_prefix(std::min<size_t>(2, body.size()));
      constexpr std::string_view kPlain = "\\'\"abfnrtv";
      constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
      if (const size_t at = kPlain.find(kind); at != std::string_view::npos && kind != 0) {
        out += kMeaning[at];
      } else if (kind == '\n') {  // a line goes on
      } else if (kind == 'x' || kind == 'u' || kind == 'U') {
        out += hex_character(body, kind == 'x' ? 2 : kind == 'u' ? 4 : 8);
      } else if (kind >= '0' && kind <= '7') {
        uint32_t code = static_cast<uint32_t>(kind - '0');
        for (int i = 0; i < 2 && !body.empty() && body[0] >= '0' && body[0] <= '7'; ++i) {
          code = code * 8 + static_cast<uint32_t>(body[0] - '0');
          body.remove_prefix(1);
        }
        append_character(out, code);
      } else if (kind == 'N') {
        throw TemplateError(Fault::kUnsupported, "the escape \\N{..} in a text", line_, source_);
      } else {  // an unknown escape stays as it is
        out += '\\';
        if (kind != 0) out += kind;
      }
    }
    return out;
  }

  std::string hex_character(std::string_view& body, size_t digits) const {
    uint32_t code = 0;
    for (size_t i = 0; i < digits; ++i) {
      const int c = i < body.size() ? static_cast<unsigned char>(body[i]) : 0;
      if (std::isxdigit(c) == 0) fail_here("truncated escape of a character in a text");
      code =
          code * 16 + static_cast<uint32_t>(std::isdigit(c) != 0 ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    body.remove_prefix(digits);
    if (code > 0x10ffff) fail_here("illegal Unicode character in a text");
    if (code >= 0xd800 && code < 0xe000) {
      throw TemplateError(Fault::kUnsupported, "half of a surrogate pair in a text", line_,
                          source_);
    }
    std::string out;
    append_character(out, code);
    return out;
  }

  bool read_operator() {
    static constexpr const char* kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                                 "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                                 ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};
    for (const char* known : kOperators) {
      const size_t length = std::strlen(known);
      if (rest().substr(0, length) != known) continue;
      balance(known[0]);
      add(TokenKind::kOperator, known);
      advance(length);
      return true;
    }
    return false;
  }

  void balance(char c) {
    if (c == '(' || c == '[' || c == '{') open_ += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c != ')' && c != ']' && c != '}') return;
    if (open_.empty()) fail_here(std::string("unexpected '") + c + "'");
    if (open_.back() != c) {
      fail_here(std::string("unexpected '") + c + "', expected '" + open_.back() + "'");
    }
    open_.pop_back();
  }

  std::string source_;
  std::string text_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::string open_;  // brackets to be closed
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view text, const std::string& source) {
  return Lexer(text, source).run();
}

}  // namespace zeroth::jinja
