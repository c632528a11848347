#include "rewards/code/value.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/config.h"

namespace zeroth {
namespace {

using Kind = PyValue::Kind;
constexpr int kMaxDepth = 250;  // wire.py stops at 200

// A small JSON reader that keeps the digits of integers; depth and input bound its work.
class Parser {
 public:
  Parser(std::string_view text, bool plain) : text_(text), plain_(plain) {}
  bool parse(PyValue& value) {
    if (!read(value, 0)) return false;
    skip();
    return at_ == text_.size();
  }

 private:
  void skip() {
    while (at_ < text_.size() &&
           (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t' || text_[at_] == '\r'))
      ++at_;
  }
  bool take(char c) {
    skip();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  bool word(std::string_view w) {
    if (text_.substr(at_, w.size()) != w) return false;
    at_ += w.size();
    return true;
  }

  bool read(PyValue& value, int depth) {
    if (depth > kMaxDepth) return false;
    skip();
    if (at_ >= text_.size()) return false;
    switch (text_[at_]) {
      case 'n':
        return word("null");
      case 't':
        value.kind = Kind::kBool;
        value.boolean = true;
        return word("true");
      case 'f':
        value.kind = Kind::kBool;
        return word("false");
      case '"':
        value.kind = Kind::kString;
        return read_string(value.text);
      case '[':
        value.kind = Kind::kList;
        return read_list(value.items, depth);
      case '{':
        return read_object(value, depth);
      case 'N':
        return word("NaN") && make_float(value, std::numeric_limits<double>::quiet_NaN());
      case 'I':
        return word("Infinity") && make_float(value, std::numeric_limits<double>::infinity());
      default:
        return read_number(value);
    }
  }

  bool read_list(std::vector<PyValue>& items, int depth) {
    if (!take('[')) return false;
    if (take(']')) return true;
    do {
      if (!read(items.emplace_back(), depth + 1)) return false;
    } while (take(','));
    return take(']');
  }

  bool read_object(PyValue& value, int depth) {
    if (!take('{')) return false;
    value.kind = Kind::kDict;
    if (take('}')) return true;
    do {
      PyValue key, item;
      skip();
      key.kind = Kind::kString;
      if (!read_string(key.text) || !take(':') || !read(item, depth + 1)) return false;
      value.items.push_back(std::move(key));
      value.items.push_back(std::move(item));
    } while (take(','));
    if (!take('}')) return false;
    return plain_ || untag(value);
  }

  static bool number_of(const PyValue& text, double& out) {
    if (text.kind != Kind::kString) return false;
    char* end = nullptr;
    out = std::strtod(text.text.c_str(), &end);
    return end != text.text.c_str() && *end == '\0';
  }

  static bool untag(PyValue& value) {
    if (value.items.size() != 2 || value.items[0].text.size() != 1) return false;
    const char tag = value.items[0].text[0];
    PyValue body = std::move(value.items[1]);
    value = PyValue();
    const bool list = body.kind == Kind::kList;
    if (tag == 'f') {
      value.kind = Kind::kFloat;
      return number_of(body, value.number);
    }
    if (tag == 'o') {
      value.kind = Kind::kOpaque;
      return true;
    }
    if (tag == 'b' && body.kind == Kind::kString) {
      value.kind = Kind::kBytes;
      value.text = std::move(body.text);
      return true;
    }
    if (tag == 'q' && list && body.items.size() == 2) {
      value.kind = Kind::kRatio;
      value.text = body.items[0].text + "/" + body.items[1].text;
      return body.items[0].kind == Kind::kString && body.items[1].kind == Kind::kString;
    }
    if (tag == 'c' && list && body.items.size() == 2) {
      value.kind = Kind::kComplex;
      return number_of(body.items[0], value.number) && number_of(body.items[1], value.imaginary);
    }
    if ((tag == 't' || tag == 's') && list) {
      value.kind = tag == 't' ? Kind::kTuple : Kind::kSet;
      value.items = std::move(body.items);
      return true;
    }
    if (tag != 'd' || !list) return false;
    value.kind = Kind::kDict;
    for (PyValue& pair : body.items) {
      if (pair.kind != Kind::kList || pair.items.size() != 2) return false;
      value.items.push_back(std::move(pair.items[0]));
      value.items.push_back(std::move(pair.items[1]));
    }
    return true;
  }

  static bool make_float(PyValue& value, double number) {
    value.kind = Kind::kFloat;
    value.number = number;
    return true;
  }

  bool read_number(PyValue& value) {
    const size_t start = at_;
    if (word("-Infinity")) return make_float(value, -std::numeric_limits<double>::infinity());
    bool real = false;
    if (at_ < text_.size() && text_[at_] == '-') ++at_;
    const size_t digits = at_;
    for (; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c >= '0' && c <= '9') continue;
      if (at_ == digits || !(c == '.' || c == 'e' || c == 'E' || ((c == '+' || c == '-') && real)))
        break;
      real = true;
    }
    if (at_ == digits) return false;
    const std::string token(text_.substr(start, at_ - start));
    if (real) {
      value.kind = Kind::kFloat;
      char* end = nullptr;
      value.number = std::strtod(token.c_str(), &end);
      return *end == '\0';
    }
    value.kind = Kind::kInt;
    value.text = token;
    // Canonical digits: no leading zeros, no minus zero.
    const bool negative = value.text[0] == '-';
    std::string body = value.text.substr(negative ? 1 : 0);
    body.erase(0, std::min(body.find_first_not_of('0'), body.size() - 1));
    value.text = (negative && body != "0" ? "-" : "") + body;
    return true;
  }

  static void append_utf8(std::string& out, uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xC0 | c >> 6);
      out += static_cast<char>(0x80 | (c & 63));
    } else if (c < 0x10000) {
      out += static_cast<char>(0xE0 | c >> 12);
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    } else {
      out += static_cast<char>(0xF0 | c >> 18);
      out += static_cast<char>(0x80 | (c >> 12 & 63));
      out += static_cast<char>(0x80 | (c >> 6 & 63));
      out += static_cast<char>(0x80 | (c & 63));
    }
  }

  bool hex4(uint32_t& out) {
    if (at_ + 4 > text_.size()) return false;
    out = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0) return false;
      out = out * 16 + static_cast<uint32_t>(digit);
    }
    return true;
  }

  bool read_string(std::string& out) {
    if (at_ >= text_.size() || text_[at_] != '"') return false;
    ++at_;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) return false;
      const char e = text_[at_++];
      static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
      if (const size_t i = kFrom.find(e); i != std::string_view::npos) {
        out += kTo[i];
        continue;
      }
      uint32_t unit = 0, low = 0;
      if (e != 'u' || !hex4(unit)) return false;
      if (unit >= 0xD800 && unit < 0xDC00 && text_.substr(at_, 2) == "\\u") {
        const size_t back = at_;
        at_ += 2;
        if (!hex4(low)) return false;
        if (low >= 0xDC00 && low < 0xE000)
          unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
        else
          at_ = back;
      }
      append_utf8(out, unit);
    }
    return false;
  }

  std::string_view text_;
  bool plain_;
  size_t at_ = 0;
};

void append_json(std::string& out, const PyValue& value) {
  const auto quote = [](const std::string& text) {
    return Json(text).dump(-1, ' ', true, Json::error_handler_t::replace);
  };
  switch (value.kind) {
    case PyValue::Kind::kNone:
      out += "null";
      return;
    case PyValue::Kind::kBool:
      out += value.boolean ? "true" : "false";
      return;
    case PyValue::Kind::kInt:
      out += value.text;
      return;
    case PyValue::Kind::kFloat:
      out += std::isfinite(value.number) ? Json(value.number).dump()
             : std::isnan(value.number)  ? "NaN"
             : value.number > 0          ? "Infinity"
                                         : "-Infinity";
      return;
    case PyValue::Kind::kString:
      out += quote(value.text);
      return;
    case PyValue::Kind::kDict:
      out += '{';
      for (size_t i = 0; i + 1 < value.items.size(); i += 2) {
        if (i > 0) out += ',';
        append_json(out, value.items[i]);
        out += ':';
        append_json(out, value.items[i + 1]);
      }
      out += '}';
      return;
    default:
      out += '[';
      for (size_t i = 0; i < value.items.size(); ++i) {
        if (i > 0) out += ',';
        append_json(out, value.items[i]);
      }
      out += ']';
  }
}

}  // namespace

std::string json_text(const PyValue& value) {
  std::string out;
  append_json(out, value);
  return out;
}

bool parse_value(std::string_view json, bool plain, PyValue& value) {
  value = PyValue();
  return Parser(json, plain).parse(value);
}

}  // namespace zeroth
