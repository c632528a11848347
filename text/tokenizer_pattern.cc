#include "text/tokenizer_pattern.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <vector>

#include "core/error.h"
#include "text/tokenizer_charset.h"

namespace zeroth {
namespace {

constexpr int kMaxDepth = 100;            // nested groups and sets
constexpr size_t kMaxPattern = 64 << 10;  // bytes; real ones have a few hundred

// Recursive descent over the grammar of doc/RE.
class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where) : in_(pattern), where_(where) {}

  std::string run() {
    if (in_.size() > kMaxPattern) refuse("a pattern of more than 65536 bytes");
    if (valid_utf8_prefix(in_) != in_.size()) refuse("bytes that are not UTF-8");
    std::string out = alternatives();
    if (!at_end()) refuse("an unmatched )");
    return out;
  }

 private:
  bool at_end() const { return at_ >= in_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < in_.size() ? in_[at_ + ahead] : '\0'; }
  bool accept(std::string_view token) {
    if (in_.substr(at_, token.size()) != token) return false;
    at_ += token.size();
    return true;
  }
  [[noreturn]] void refuse(const std::string& construct) const {
    fail(where_ + ": the regular expression holds " + construct + ", which this reader cannot take",
         "pattern: " + std::string(in_.substr(0, 400)));
  }
  CodePoint next_char() {
    const Utf8Char c = decode_utf8(in_.substr(at_));
    if (c.length == 0) refuse("a cut end");
    at_ += c.length;
    return c.code;
  }

  std::string alternatives() {
    if (++depth_ > kMaxDepth) refuse("more than 100 nested groups");
    std::string out = sequence();
    while (accept("|")) out += "|" + sequence();
    --depth_;
    return out;
  }

  std::string sequence() {
    std::string out;
    while (!at_end() && peek() != '|' && peek() != ')') {
      std::string flags;
      if (bare_flags(flags)) {
        // Holds up to the end of the group, later branches included: a(?i)b|c is a(?i:b|c).
        out += "(?" + flags + ":" + alternatives() + ")";
        break;
      }
      out += quantified(atom());
    }
    return out;
  }

  // (?i) without a colon.
  bool bare_flags(std::string& flags) {
    if (peek() != '(' || peek(1) != '?') return false;
    size_t end = at_ + 2;
    while (end < in_.size() && std::string_view("imxs-").find(in_[end]) != std::string_view::npos) {
      ++end;
    }
    if (end == at_ + 2 || end >= in_.size() || in_[end] != ')') return false;
    flags = translate_flags(in_.substr(at_ + 2, end - at_ - 2));
    at_ = end + 1;
    return true;
  }

  std::string translate_flags(std::string_view flags) const {
    std::string out;
    for (char flag : flags) {
      if (flag == 'i' || flag == '-') {
        out += flag;
      } else if (flag == 'm') {  // "dot matches newline" in Oniguruma
        out += 's';
      } else {
        refuse("the option (?" + std::string(1, flag) + ")");
      }
    }
    return out;
  }

  // Reads {n}, {n,}, {,m} or {n,m}; false when the brace is an ordinary character.
  bool interval(std::string& out) {
    size_t i = at_ + 1;
    std::string low, high;
    bool comma = false;
    while (i < in_.size() && std::isdigit(static_cast<unsigned char>(in_[i]))) low += in_[i++];
    if (i < in_.size() && in_[i] == ',') {
      comma = true;
      ++i;
      while (i < in_.size() && std::isdigit(static_cast<unsigned char>(in_[i]))) high += in_[i++];
    }
    if (i >= in_.size() || in_[i] != '}' || (low.empty() && high.empty())) return false;
    if (low.size() > 5 || high.size() > 5) refuse("a repeat count above 99999");
    at_ = i + 1;
    out = "{" + (low.empty() ? "0" : low) + (comma ? "," + high : "") + "}";
    return true;
  }

  std::string quantified(std::string unit) {
    for (int repeats = 0; !at_end(); ++repeats) {
      if (repeats > kMaxDepth) refuse("more than 100 repeats in a row");
      std::string quantifier;
      const char c = peek();
      if (c == '*' || c == '+' || c == '?') {
        quantifier = c;
        ++at_;
        if (peek() == '?' || peek() == '+') quantifier += in_[at_++];
      } else if (c == '{' && interval(quantifier)) {
        // {n,m}? is lazy, {n}? an optional group, {n,m}+ a repeated one.
        if (peek() == '?' && quantifier.find(',') != std::string::npos) quantifier += in_[at_++];
      } else {
        break;
      }
      if (repeats > 0) unit = "(?:" + unit + ")";
      unit += quantifier;
    }
    return unit;
  }

  std::string atom() {
    const char c = peek();
    if (c == '(') return group();
    if (c == '[') {
      ++at_;
      return set();
    }
    if (c == '\\') return escape();
    if (c == '.' || c == '^' || c == '$') {
      ++at_;
      return std::string(1, c);
    }
    if (c == '*' || c == '+' || c == '?') refuse(std::string("a ") + c + " with nothing to repeat");
    return literal_item(next_char());
  }

  std::string group() {
    ++at_;
    std::string open = "(?:";  // nothing here refers back to a group
    if (accept("?")) {
      if (accept("#")) {
        while (!at_end() && peek() != ')') at_ += peek() == '\\' ? 2 : 1;
        if (!accept(")")) refuse("a comment without end");
        return "";
      }
      if (accept("<=")) {
        open = "(?<=";
      } else if (accept("<!")) {
        open = "(?<!";
      } else if (accept("<")) {
        while (!at_end() && peek() != '>') ++at_;
        if (!accept(">")) refuse("a group name without end");
      } else if (peek() == ':' || peek() == '=' || peek() == '!' || peek() == '>') {
        open = std::string("(?") + in_[at_++];
      } else {
        const size_t colon = in_.find(':', at_);
        if (colon == std::string_view::npos) refuse("an unknown kind of group");
        open = "(?" + translate_flags(in_.substr(at_, colon - at_)) + ":";
        at_ = colon + 1;
      }
    } else if (peek() == '*') {
      refuse("a callout (*...)");
    }
    std::string body = alternatives();
    if (!accept(")")) refuse("a group without end");
    return open + body + ")";
  }

  // \p{..} and \P{..}, the backslash and the letter already read.
  CharSet property(bool negate) {
    if (!accept("{")) refuse("\\p without braces");
    if (accept("^")) negate = !negate;
    std::string name;
    while (!at_end() && peek() != '}') {
      const char c = in_[at_++];
      if (c == ' ' || c == '_' || c == '-') continue;
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    if (!accept("}")) refuse("a property without end");
    CharSet found = known_set(name);
    if (!negate) return found;
    return {"", {render(found, true)}};
  }

  CharSet known_set(const std::string& name) const {
    const std::optional<CharSet> found = named_set(name);
    if (!found) refuse("the character class \"" + name + "\"");
    return *found;
  }

  // A class escape (\s, \p{..}); false when the escape is one character or an assertion.
  bool class_escape(CharSet& out) {
    const char c = peek(1);
    const auto take = [&](const CharSet& positive, bool negate) {
      at_ += 2;
      out = negate ? CharSet{"", {render(positive, true)}} : positive;
      return true;
    };
    switch (c) {
      case 's':
        return take(white_space_set(), false);
      case 'S':
        return take(white_space_set(), true);
      case 'd':
        return take(category_set("Nd"), false);
      case 'D':
        return take(category_set("Nd"), true);
      case 'w':
        return take(word_set(), false);
      case 'W':
        return take(word_set(), true);
      case 'h':
        return take(hex_digit_set(), false);
      case 'H':
        return take(hex_digit_set(), true);
      case 'p':
      case 'P':
        at_ += 2;
        out = property(c == 'P');
        return true;
      default:
        return false;
    }
  }

  CodePoint hex_digits(int least, int most) {
    CodePoint code = 0;
    int n = 0;
    while (n < most && std::isxdigit(static_cast<unsigned char>(peek()))) {
      const char c = static_cast<char>(std::tolower(static_cast<unsigned char>(in_[at_++])));
      code = code * 16 + static_cast<CodePoint>(c <= '9' ? c - '0' : c - 'a' + 10);
      ++n;
    }
    if (n < least || code > 0x10ffff) refuse("a malformed hexadecimal escape");
    return code;
  }

  // An escape that stands for one character. `in_set`: \b is a backspace there.
  CodePoint char_escape(bool in_set) {
    ++at_;
    if (at_end()) refuse("a backslash at its end");
    const char c = peek();
    if ((c & 0x80) != 0 || !std::isalnum(static_cast<unsigned char>(c))) return next_char();
    ++at_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'f':
        return '\f';
      case 'v':
        return '\v';
      case 'a':
        return '\a';
      case 'e':
        return 0x1b;
      case '0':
        return 0;
      case 'u':
        return hex_digits(4, 4);
      case 'x': {
        if (!accept("{")) {
          const CodePoint byte = hex_digits(1, 2);
          if (byte >= 0x80) refuse("a raw byte above \\x7f");
          return byte;
        }
        const CodePoint code = hex_digits(1, 8);
        if (!accept("}")) refuse("a malformed hexadecimal escape");
        return code;
      }
      case 'b':
        if (in_set) return '\b';
        [[fallthrough]];
      default:
        refuse(std::string("the escape \\") + c);
    }
  }

  std::string escape() {
    CharSet found;
    if (class_escape(found)) return render(found, false);
    const char c = peek(1);
    const auto take = [&](std::string text) {
      at_ += 2;
      return text;
    };
    switch (c) {
      case 'A':
      case 'z':
      case 'Z':
        return take(std::string("\\") + c);
      case 'R':
        return take("(?>\\x0d\\x0a|[\\x0a-\\x0d\\x{85}\\x{2028}\\x{2029}])");
      case 'N':
        return take("[^\\x0a]");
      case 'O':
        return take("(?s:.)");
      case 'b':
      case 'B': {
        const std::string w = render(word_set(), false);
        if (c == 'b') return take("(?:(?<=" + w + ")(?!" + w + ")|(?<!" + w + ")(?=" + w + "))");
        return take("(?:(?<=" + w + ")(?=" + w + ")|(?<!" + w + ")(?!" + w + "))");
      }
      case 'Q': {
        at_ += 2;
        const size_t end = std::min(in_.find("\\E", at_), in_.size());
        const std::string text = literal_pattern(in_.substr(at_, end - at_));
        at_ = std::min(end + 2, in_.size());
        return "(?:" + text + ")";
      }
      default:
        return literal_item(char_escape(false));
    }
  }

  bool posix_class(CharSet& out) {
    if (peek() != '[' || peek(1) != ':') return false;
    const size_t end = in_.find(":]", at_ + 2);
    if (end == std::string_view::npos) return false;
    std::string name(in_.substr(at_ + 2, end - at_ - 2));
    const bool negate = !name.empty() && name[0] == '^';
    if (negate) name.erase(0, 1);
    at_ = end + 2;
    const CharSet found = known_set(name);
    out = negate ? CharSet{"", {render(found, true)}} : found;
    return true;
  }

  // After the opening bracket, up to and including the closing one. One-character expression.
  std::string set() {
    if (++depth_ > kMaxDepth) refuse("more than 100 nested sets");
    const bool negate = accept("^");
    std::vector<CharSet> operands(1);
    for (bool first = true;; first = false) {
      if (at_end()) refuse("a set without end");
      if (peek() == ']' && !first) break;
      if (accept("&&")) {
        operands.emplace_back();
        continue;
      }
      set_member(operands.back());
    }
    ++at_;
    --depth_;
    for (const CharSet& operand : operands) {
      if (operand.items.empty() && operand.singles.empty()) refuse("an empty set");
    }
    if (operands.size() == 1) return render(operands[0], negate);
    // An intersection: every operand looks at the same character. Its members are listed, because
    // repeating a group would keep every step of it for backtracking.
    std::string all;
    for (const CharSet& operand : operands) all += "(?=" + render(operand, false) + ")";
    return render(enumerated_set(all + "(?s:.)"), negate);
  }

  void set_member(CharSet& into) {
    CharSet found;
    if (posix_class(found)) {
      into.add(found);
      return;
    }
    if (accept("[")) {
      into.singles.push_back(set());
      return;
    }
    if (peek() == '\\' && class_escape(found)) {
      into.add(found);
      return;
    }
    const CodePoint low = peek() == '\\' ? char_escape(true) : next_char();
    const bool range = peek() == '-' && peek(1) != ']' && peek(1) != '\0' && peek(1) != '[' &&
                       !(peek(1) == '&' && peek(2) == '&');
    if (!range) {
      into.items += literal_item(low);
      return;
    }
    ++at_;
    if (peek() == '\\' && class_escape(found)) refuse("a range that ends in a class");
    const CodePoint high = peek() == '\\' ? char_escape(true) : next_char();
    if (high < low) refuse("a range whose end comes before its start");
    into.items += range_item(low, high);
  }

  std::string_view in_;
  const std::string& where_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

std::string literal_pattern(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const Utf8Char c = decode_utf8(text);
    if (c.length == 0) break;
    out += literal_item(c.code);
    text.remove_prefix(c.length);
  }
  return out;
}

}  // namespace zeroth
