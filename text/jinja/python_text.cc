#include "text/jinja/python_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>

#include "text/jinja/error.h"

namespace zeroth::jinja {

bool is_valid_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto lead = static_cast<unsigned char>(text[0]);
    if (lead < 0x80) {
      text.remove_prefix(1);
      continue;
    }
    if (lead < 0xc2 || lead > 0xf4) return false;
    const Character c = first_character(text);
    const auto bytes = static_cast<size_t>(lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4);
    if (text.size() < bytes) return false;
    for (size_t i = 1; i < bytes; ++i) {
      if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return false;
    }
    const bool shortest = c.code >= (bytes == 2 ? 0x80u : bytes == 3 ? 0x800u : 0x10000u);
    if (!shortest || c.code > 0x10ffff || (c.code >= 0xd800 && c.code < 0xe000)) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

int64_t code_points(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
}

Character first_character(std::string_view text) {
  if (text.empty()) return {};
  const auto lead = static_cast<unsigned char>(text[0]);
  if (lead < 0x80) return {lead, 1};
  const int bytes = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < static_cast<size_t>(bytes)) return {0xfffd, static_cast<int>(text.size())};
  uint32_t code = lead & (bytes == 2 ? 0x1fu : bytes == 3 ? 0x0fu : 0x07u);
  for (int i = 1; i < bytes; ++i) code = code << 6 | (static_cast<unsigned char>(text[i]) & 0x3fu);
  return {code, bytes};
}

void append_character(std::string& out, uint32_t code) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3f)); };
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xc0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xe0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xf0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

size_t byte_of(std::string_view text, int64_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) {
    ++at;
    while (at < text.size() && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) ++at;
  }
  return at;
}

std::string_view characters(std::string_view text, int64_t begin, int64_t end) {
  if (begin >= end) return {};
  const size_t from = byte_of(text, begin);
  return text.substr(from, byte_of(text.substr(from), end - begin));
}

namespace {

// The last code point of a text that is not empty.
Character last_character(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return first_character(text.substr(at));
}

template <class Cut>
std::string_view strip_if(std::string_view text, Side side, const Cut& cut) {
  while (side != Side::kRight && !text.empty()) {
    const Character c = first_character(text);
    if (!cut(c.code)) break;
    text.remove_prefix(static_cast<size_t>(c.bytes));
  }
  while (side != Side::kLeft && !text.empty()) {
    const Character c = last_character(text);
    if (!cut(c.code)) break;
    text.remove_suffix(static_cast<size_t>(c.bytes));
  }
  return text;
}

bool ends_line(uint32_t c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

std::string_view stripped(std::string_view text, Side side) {
  return strip_if(text, side, is_space);
}

std::string_view stripped_of(std::string_view text, std::string_view set, Side side) {
  std::vector<uint32_t> codes;
  while (!set.empty()) {
    const Character c = first_character(set);
    codes.push_back(c.code);
    set.remove_prefix(static_cast<size_t>(c.bytes));
  }
  std::sort(codes.begin(), codes.end());
  return strip_if(text, side, [&](uint32_t code) {
    return std::binary_search(codes.begin(), codes.end(), code);
  });
}

std::vector<std::string_view> split_words(std::string_view text, int64_t most, bool from_right) {
  std::vector<std::string_view> out;
  text = stripped(text, from_right ? Side::kRight : Side::kLeft);
  while (!text.empty() && (most < 0 || static_cast<int64_t>(out.size()) < most)) {
    size_t length = 0;
    while (length < text.size()) {
      const Character c = from_right ? last_character(text.substr(0, text.size() - length))
                                     : first_character(text.substr(length));
      if (is_space(c.code)) break;
      length += static_cast<size_t>(c.bytes);
    }
    if (from_right) {
      out.push_back(text.substr(text.size() - length));
      text = stripped(text.substr(0, text.size() - length), Side::kRight);
    } else {
      out.push_back(text.substr(0, length));
      text = stripped(text.substr(length), Side::kLeft);
    }
  }
  if (!text.empty()) out.push_back(text);  // what is left of a bounded split keeps its blanks
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_at(std::string_view text, std::string_view separator,
                                       int64_t most, bool from_right) {
  std::vector<std::string_view> out;
  while (most < 0 || static_cast<int64_t>(out.size()) < most) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    if (from_right) {
      out.push_back(text.substr(at + separator.size()));
      text = text.substr(0, at);
    } else {
      out.push_back(text.substr(0, at));
      text = text.substr(at + separator.size());
    }
  }
  out.push_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string_view> split_lines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    size_t length = 0, end = 0;
    while (length < text.size() && end == 0) {
      const Character c = first_character(text.substr(length));
      length += static_cast<size_t>(c.bytes);
      if (!ends_line(c.code)) continue;
      end = static_cast<size_t>(c.bytes);
      if (c.code == '\r' && length < text.size() && text[length] == '\n') ++length, ++end;
    }
    out.push_back(text.substr(0, keep_ends ? length : length - end));
    text.remove_prefix(length);
  }
  return out;
}

std::string replaced(std::string_view text, std::string_view old, std::string_view with,
                     int64_t most, size_t limit) {
  std::string out;
  const auto add = [&](std::string_view part) {
    if (part.size() > limit - out.size()) fail_as(Fault::kLimit, "a text grows too long");
    out += part;
  };
  // An empty text is found before every character and at the end.
  for (int64_t count = 0; most < 0 || count < most; ++count) {
    const size_t at = old.empty() ? 0 : text.find(old);
    if (at == std::string_view::npos) break;
    add(text.substr(0, at));
    add(with);
    text.remove_prefix(at + old.size());
    if (!old.empty()) continue;
    if (text.empty()) return out;
    const auto one = static_cast<size_t>(first_character(text).bytes);
    add(text.substr(0, one));
    text.remove_prefix(one);
  }
  add(text);
  return out;
}

std::string repr_text(std::string_view text) {
  const bool single = text.find('\'') == std::string_view::npos;
  const char quote = single || text.find('"') != std::string_view::npos ? '\'' : '"';
  std::string out(1, quote);
  const auto hex = [&](char kind, uint32_t code, int digits) {
    out += '\\';
    out += kind;
    for (int i = digits - 1; i >= 0; --i) out += "0123456789abcdef"[code >> (4 * i) & 15];
  };
  while (!text.empty()) {
    const Character c = first_character(text);
    if (c.code == static_cast<unsigned char>(quote) || c.code == '\\') {
      out += '\\';
      out += static_cast<char>(c.code);
    } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
      out += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
    } else if (is_printable(c.code)) {
      out += text.substr(0, static_cast<size_t>(c.bytes));
    } else if (c.code < 0x100) {
      hex('x', c.code, 2);
    } else if (c.code < 0x10000) {
      hex('u', c.code, 4);
    } else {
      hex('U', c.code, 8);
    }
    text.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return out + quote;
}

std::string whole_text(Int value) {
  if (value == 0) return "0";
  std::string out;
  const bool negative = value < 0;
  for (; value != 0; value /= 10) {
    const int digit = static_cast<int>(value % 10);
    out += static_cast<char>('0' + (digit < 0 ? -digit : digit));
  }
  if (negative) out += '-';
  std::reverse(out.begin(), out.end());
  return out;
}

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value, std::chars_format::scientific);
  std::string digits(text, end.ptr);
  const bool negative = digits[0] == '-';
  if (negative) digits.erase(0, 1);
  const size_t e = digits.find('e');
  const int exponent = std::atoi(digits.c_str() + e + 1);
  std::string mantissa = digits.substr(0, e);
  mantissa.erase(std::remove(mantissa.begin(), mantissa.end(), '.'), mantissa.end());
  std::string out;
  if (exponent < -4 || exponent >= 16) {
    out = mantissa.substr(0, 1) + (mantissa.size() > 1 ? "." + mantissa.substr(1) : "") + "e" +
          (exponent < 0 ? "-" : "+") + (std::abs(exponent) < 10 ? "0" : "") +
          std::to_string(std::abs(exponent));
  } else if (exponent < 0) {
    out = "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + mantissa;
  } else {
    const auto whole = static_cast<size_t>(exponent) + 1;
    if (mantissa.size() <= whole) {
      out = mantissa + std::string(whole - mantissa.size(), '0') + ".0";
    } else {
      out = mantissa.substr(0, whole) + "." + mantissa.substr(whole);
    }
  }
  return negative ? "-" + out : out;
}

std::string html_escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

namespace {

// Underscores stand between digits only.
bool without_underscores(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool inside = i > 0 && i + 1 < text.size() && std::isalnum(text[i - 1]) != 0 &&
                        std::isalnum(text[i + 1]) != 0;
    if (!inside) return false;
  }
  return true;
}

}  // namespace

bool parse_whole(std::string_view text, int base, Int& value) {
  text = stripped(text);
  bool negative = false;
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) {
    negative = text[0] == '-';
    text.remove_prefix(1);
  }
  if (text.size() > 1 && text[0] == '0') {
    const char kind = static_cast<char>(text[1] | 0x20);
    const int named = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
    if (named != 0 && (base == 0 || base == named)) {
      base = named;
      text.remove_prefix(2);
      if (!text.empty() && text[0] == '_') text.remove_prefix(1);
    } else if (base == 0 && text.find_first_not_of("0_") != std::string_view::npos) {
      return false;  // 012
    }
  }
  if (base == 0) base = 10;
  std::string digits;
  if (text.empty() || !without_underscores(text, digits)) return false;
  Int out = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9'   ? c - '0'
                      : c >= 'a' && c <= 'z' ? c - 'a' + 10
                      : c >= 'A' && c <= 'Z' ? c - 'A' + 10
                                             : 99;
    if (digit >= base) return false;
    if (__builtin_mul_overflow(out, Int{base}, &out) ||
        __builtin_add_overflow(out, Int{digit}, &out)) {
      fail_as(Fault::kLimit, "an integer has more than 127 bits");
    }
  }
  value = negative ? -out : out;
  return true;
}

bool parse_real(std::string_view text, double& value) {
  std::string digits;
  if (!without_underscores(stripped(text), digits) || digits.empty()) return false;
  std::string_view rest = digits;
  const bool negative = rest[0] == '-';
  if (rest[0] == '-' || rest[0] == '+') rest.remove_prefix(1);
  const std::string word = lower_case(rest);
  if (word == "inf" || word == "infinity" || word == "nan") {
    value = word == "nan" ? std::nan("") : HUGE_VAL;
  } else {
    if (rest.empty() ||
        (std::isdigit(static_cast<unsigned char>(rest[0])) == 0 && rest[0] != '.')) {
      return false;
    }
    if (rest.find_first_not_of("0123456789.eE+-") != std::string_view::npos) return false;
    char* end = nullptr;
    const std::string whole(rest);
    value = std::strtod(whole.c_str(), &end);
    if (end != whole.c_str() + whole.size()) return false;
  }
  if (negative) value = -value;
  return true;
}

}  // namespace zeroth::jinja
