// The two ways in which Python formats: "%d" % x and "{}".format(x).
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

constexpr int64_t kMaxWidth = 1 << 20;

struct Spec {
  std::string fill = " ";
  char align = 0;  // < > = ^; 0: by the type
  char sign = '-';
  bool alternate = false, zero = false;
  int64_t width = 0, precision = -1;
  char grouping = 0;
  char type = 0;
};

std::string padded(const Spec& spec, std::string body, bool number) {
  const int64_t missing = spec.width - code_points(body);
  if (missing <= 0) return body;
  const char align = spec.align != 0 ? spec.align : number ? '>' : '<';
  const int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string out;
  if (align == '=') {
    const bool sign = !body.empty() && (body[0] == '-' || body[0] == '+' || body[0] == ' ');
    if (sign) out += body[0];
    for (int64_t i = 0; i < missing; ++i) out += spec.fill;
    return out + body.substr(sign);
  }
  for (int64_t i = 0; i < left; ++i) out += spec.fill;
  out += body;
  for (int64_t i = left; i < missing; ++i) out += spec.fill;
  return out;
}

std::string in_base(Int value, unsigned base, bool upper) {
  std::string out;
  do {
    const int digit = static_cast<int>(value % base);
    out += (upper ? "0123456789ABCDEF" : "0123456789abcdef")[digit];
    value /= base;
  } while (value > 0);
  std::reverse(out.begin(), out.end());
  return out;
}

std::string with_sign(const Spec& spec, bool negative, const std::string& digits) {
  if (negative) return "-" + digits;
  return (spec.sign == '+' ? "+" : spec.sign == ' ' ? " " : "") + digits;
}

// Groups of three in front of the point.
std::string grouped(const std::string& digits, char separator) {
  if (separator == 0) return digits;
  const size_t end = std::min(digits.find_first_not_of("0123456789"), digits.size());
  std::string out;
  for (size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % 3 == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(end);
}

std::string whole_digits(const Spec& spec, Int value) {
  const Int magnitude = value < 0 ? -value : value;
  std::string digits;
  switch (spec.type) {
    case 'x':
      digits = (spec.alternate ? "0x" : "") + in_base(magnitude, 16, false);
      break;
    case 'X':
      digits = (spec.alternate ? "0X" : "") + in_base(magnitude, 16, true);
      break;
    case 'o':
      digits = (spec.alternate ? "0o" : "") + in_base(magnitude, 8, false);
      break;
    case 'b':
      digits = (spec.alternate ? "0b" : "") + in_base(magnitude, 2, false);
      break;
    default:
      digits = grouped(whole_text(magnitude), spec.grouping);
  }
  return with_sign(spec, value < 0, digits);
}

std::string real_digits(const Spec& spec, double value) {
  const bool negative = std::signbit(value) && !std::isnan(value);
  const double magnitude = std::abs(value);
  if (!std::isfinite(value)) {
    std::string word = std::isnan(value) ? "nan" : "inf";
    if (std::isupper(static_cast<unsigned char>(spec.type)) != 0) word = upper_case(word);
    return with_sign(spec, negative, word);
  }
  const bool percent = spec.type == '%';
  const char type = spec.type == 'n' ? 'g' : percent ? 'f' : spec.type;
  const int precision = static_cast<int>(spec.precision < 0 ? 6 : spec.precision);
  const char format[] = {'%',
                         spec.alternate ? '#' : '.',
                         spec.alternate ? '.' : '*',
                         spec.alternate ? '*' : type,
                         spec.alternate ? type : '\0',
                         '\0'};
  const double shown = percent ? magnitude * 100 : magnitude;
  const int size = std::snprintf(nullptr, 0, format, precision, shown);
  std::string digits(static_cast<size_t>(size) + 1, '\0');
  std::snprintf(digits.data(), digits.size(), format, precision, shown);
  digits.pop_back();
  return with_sign(spec, negative, grouped(digits, spec.grouping) + (percent ? "%" : ""));
}

std::string cut(std::string text, int64_t precision) {
  return precision < 0 ? text : std::string(characters(text, 0, precision));
}

Int to_whole(const Value& value, char type) {
  if (value.is_whole()) return value.whole();
  if (value.is(Type::kFloat) && type == 'd' && std::abs(value.real()) < 1e37) {
    return static_cast<Int>(value.real());
  }
  fail_runtime(std::string("%") + type + " format: a real number is required, not " +
               type_name(value));
}

std::string ascii_only(const std::string& text) {
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    const Character c = first_character(rest);
    char escaped[16];
    if (c.code < 0x80) {
      out += static_cast<char>(c.code);
    } else {
      std::snprintf(escaped, sizeof escaped,
                    c.code < 0x100     ? "\\x%02x"
                    : c.code < 0x10000 ? "\\u%04x"
                                       : "\\U%08x",
                    c.code);
      out += escaped;
    }
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return out;
}

// --- % ---

class Percent {
 public:
  Percent(Runtime& runtime, const std::string& format, const Value& arguments)
      : runtime_(runtime), rest_(format), arguments_(arguments) {
    single_ = !arguments.is(Type::kTuple);
  }

  std::string run() {
    std::string out;
    while (!rest_.empty()) {
      const size_t mark = rest_.find('%');
      out += rest_.substr(0, mark);
      if (mark == std::string_view::npos) break;
      rest_.remove_prefix(mark + 1);
      out += conversion();
      runtime_.spend(0);
      if (out.size() > runtime_.text_room()) fail_as(Fault::kLimit, "a text grows too long");
    }
    const bool mapping = arguments_.is(Type::kDict);
    const bool left = single_ ? used_ == 0 && !mapping : used_ < arguments_.sequence().items.size();
    if (left && !named_) fail_runtime("not all arguments converted during string formatting");
    return out;
  }

 private:
  char take() {
    if (rest_.empty()) fail_runtime("incomplete format");
    const char c = rest_[0];
    rest_.remove_prefix(1);
    return c;
  }
  const Value& argument() {
    const bool enough = single_ ? used_ == 0 : used_ < arguments_.sequence().items.size();
    if (!enough) fail_runtime("not enough arguments for format string");
    return single_ ? (++used_, arguments_) : arguments_.sequence().items[used_++];
  }
  int64_t number() {
    if (!rest_.empty() && rest_[0] == '*') {
      take();
      return whole_argument(runtime_, argument(), "%");
    }
    int64_t out = 0;
    while (!rest_.empty() && std::isdigit(static_cast<unsigned char>(rest_[0])) != 0) {
      out = std::min(out * 10 + (take() - '0'), kMaxWidth + 1);
    }
    return out;
  }

  std::string conversion() {
    const Value* chosen = nullptr;
    Value named;
    if (!rest_.empty() && rest_[0] == '(') {
      const size_t end = rest_.find(')');
      if (end == std::string_view::npos) fail_runtime("incomplete format key");
      if (!arguments_.is(Type::kDict)) fail_runtime("format requires a mapping");
      const Value* found = arguments_.mapping().find(rest_.substr(1, end - 1));
      if (found == nullptr) fail_runtime("KeyError: " + repr_text(rest_.substr(1, end - 1)));
      rest_.remove_prefix(end + 1);
      named = *found;
      chosen = &named;
      named_ = true;
    }
    Spec spec;
    for (; !rest_.empty() && std::string_view("#0- +").find(rest_[0]) != std::string_view::npos;) {
      const char flag = take();
      if (flag == '#') spec.alternate = true;
      if (flag == '0') spec.zero = true;
      if (flag == '-') spec.align = '<';
      if (flag == '+' || (flag == ' ' && spec.sign != '+')) spec.sign = flag;
    }
    spec.width = number();
    if (spec.width < 0) spec.align = '<', spec.width = -spec.width;
    if (!rest_.empty() && rest_[0] == '.') {
      take();
      spec.precision = std::max<int64_t>(0, number());
    }
    if (spec.width > kMaxWidth || spec.precision > kMaxWidth) {
      fail_as(Fault::kLimit, "a width of a format above " + std::to_string(kMaxWidth));
    }
    while (!rest_.empty() && std::string_view("hlL").find(rest_[0]) != std::string_view::npos)
      take();
    spec.type = take();
    if (spec.type == '%') return "%";
    return converted(spec, chosen != nullptr ? *chosen : argument());
  }

  std::string converted(Spec& spec, const Value& value) {
    const auto filled = [&](std::string body, bool number) {
      if (spec.align == 0) spec.align = number && spec.zero ? '=' : '>';
      if (spec.align == '=') spec.fill = "0";
      return padded(spec, std::move(body), number);
    };
    switch (spec.type) {
      case 's':
        return filled(cut(runtime_.str(value), spec.precision), false);
      case 'r':
        return filled(cut(runtime_.repr(value), spec.precision), false);
      case 'a':
        return filled(cut(ascii_only(runtime_.repr(value)), spec.precision), false);
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o': {
        const bool decimal = spec.type == 'd' || spec.type == 'i' || spec.type == 'u';
        const Int whole = to_whole(value, decimal ? 'd' : spec.type);
        std::string digits = whole_digits(spec, whole);
        const size_t start = digits.find_first_of("0123456789abcdefABCDEF");
        const int64_t missing = spec.precision - static_cast<int64_t>(digits.size() - start);
        if (missing > 0) digits.insert(start, static_cast<size_t>(missing), '0');
        return filled(std::move(digits), true);
      }
      case 'f':
      case 'F':
      case 'e':
      case 'E':
      case 'g':
      case 'G':
        if (!value.is_number()) {
          fail_runtime(std::string("must be real number, not ") + type_name(value));
        }
        return filled(real_digits(spec, value.real()), true);
      case 'c': {
        std::string one;
        if (value.is(Type::kText) && value.text().length == 1) {
          one = value.bytes();
        } else if (value.is_whole() && value.whole() >= 0 && value.whole() < 0x110000 &&
                   (value.whole() < 0xd800 || value.whole() > 0xdfff)) {
          append_character(one, static_cast<uint32_t>(value.whole()));
        } else {
          fail_runtime("%c requires int or char");
        }
        return filled(std::move(one), false);
      }
      default:
        fail_runtime(std::string("unsupported format character '") + spec.type + "'");
    }
  }

  Runtime& runtime_;
  std::string_view rest_;
  const Value& arguments_;
  bool single_ = false, named_ = false;
  size_t used_ = 0;
};

// --- {} ---

Spec parse_spec(std::string_view text) {
  Spec spec;
  const auto is_align = [](std::string_view at) {
    return !at.empty() && std::string_view("<>=^").find(at[0]) != std::string_view::npos;
  };
  const Character first = first_character(text);
  if (first.bytes > 0 && is_align(text.substr(static_cast<size_t>(first.bytes)))) {
    spec.fill = text.substr(0, static_cast<size_t>(first.bytes));
    spec.align = text[static_cast<size_t>(first.bytes)];
    text.remove_prefix(static_cast<size_t>(first.bytes) + 1);
  } else if (is_align(text)) {
    spec.align = text[0];
    text.remove_prefix(1);
  }
  const auto take = [&](char wanted) {
    const bool found = !text.empty() && text[0] == wanted;
    if (found) text.remove_prefix(1);
    return found;
  };
  for (const char sign : {'+', '-', ' '}) {
    if (take(sign)) spec.sign = sign;
  }
  spec.alternate = take('#');
  if (take('0') && spec.align == 0) spec.align = '=', spec.fill = "0";
  const auto number = [&] {
    int64_t out = 0;
    while (!text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) != 0) {
      out = std::min(out * 10 + (text[0] - '0'), kMaxWidth + 1);
      text.remove_prefix(1);
    }
    if (out > kMaxWidth) fail_as(Fault::kLimit, "a width of a format above 1048576");
    return out;
  };
  spec.width = number();
  if (take(',')) spec.grouping = ',';
  if (take('_')) spec.grouping = '_';
  if (take('.')) spec.precision = number();
  if (!text.empty()) {
    spec.type = text[0];
    text.remove_prefix(1);
  }
  if (!text.empty()) fail_runtime("Invalid format specifier");
  return spec;
}

std::string formatted(Runtime& runtime, const Value& value, std::string_view specifier) {
  if (specifier.empty()) return runtime.str(value);
  Spec spec = parse_spec(specifier);
  const auto unknown = [&] {
    fail_runtime(std::string("Unknown format code '") + spec.type + "' for object of type '" +
                 type_name(value) + "'");
  };
  if (value.is(Type::kText)) {
    if (spec.type != 0 && spec.type != 's') unknown();
    if (spec.align == '=') {
      if (spec.fill == "0") {
        spec.align = '<';
      } else {
        fail_runtime("'=' alignment not allowed in string format specifier");
      }
    }
    return padded(spec, cut(value.bytes(), spec.precision), false);
  }
  if (!value.is_number()) {
    fail_runtime(std::string("unsupported format string passed to ") + type_name(value) +
                 ".__format__");
  }
  constexpr std::string_view kWhole = "dboxXnc";
  if (value.is_whole() && (spec.type == 0 || kWhole.find(spec.type) != std::string_view::npos)) {
    if (value.is(Type::kBool) && spec.type == 0 && spec.width == 0) return runtime.str(value);
    if (spec.type == 'c') fail_unsupported("the format code 'c' in str.format");
    if (spec.precision >= 0) fail_runtime("Precision not allowed in integer format specifier");
    return padded(spec, whole_digits(spec, value.whole()), true);
  }
  constexpr std::string_view kReal = "eEfFgGn%";
  if (spec.type == 0 && spec.precision < 0) {
    const double real = value.real();
    const bool negative = std::signbit(real);
    return padded(spec, with_sign(spec, negative, real_text(std::abs(real))), true);
  }
  if (spec.type == 0) fail_unsupported("a float with a precision and no format code");
  if (kReal.find(spec.type) == std::string_view::npos) unknown();
  return padded(spec, real_digits(spec, value.real()), true);
}

class Braces {
 public:
  Braces(Runtime& runtime, const std::string& format, const Arguments& arguments)
      : runtime_(runtime), rest_(format), arguments_(arguments) {}

  std::string run() {
    std::string out;
    while (!rest_.empty()) {
      const size_t mark = rest_.find_first_of("{}");
      out += rest_.substr(0, mark);
      if (mark == std::string_view::npos) break;
      const char brace = rest_[mark];
      rest_.remove_prefix(mark + 1);
      if (!rest_.empty() && rest_[0] == brace) {
        out += brace;
        rest_.remove_prefix(1);
      } else if (brace == '}') {
        fail_runtime("Single '}' encountered in format string");
      } else {
        out += field();
      }
      runtime_.spend(0);
      if (out.size() > runtime_.text_room()) fail_as(Fault::kLimit, "a text grows too long");
    }
    return out;
  }

 private:
  std::string field() {
    const size_t end = rest_.find('}');
    if (end == std::string_view::npos) fail_runtime("expected '}' before end of string");
    std::string_view inside = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    if (inside.find('{') != std::string_view::npos) {
      fail_unsupported("a field inside a field of str.format");
    }
    std::string_view spec;
    if (const size_t colon = inside.find(':'); colon != std::string_view::npos) {
      spec = inside.substr(colon + 1);
      inside = inside.substr(0, colon);
    }
    char conversion = 0;
    if (inside.size() >= 2 && inside[inside.size() - 2] == '!') {
      conversion = inside.back();
      inside.remove_suffix(2);
    }
    Value value = looked_up(inside);
    if (conversion == 'r') value = runtime_.text(runtime_.repr(value));
    if (conversion == 's') value = runtime_.text(runtime_.str(value));
    if (conversion == 'a') value = runtime_.text(ascii_only(runtime_.repr(value)));
    return formatted(runtime_, value, spec);
  }

  Value looked_up(std::string_view name) {
    const size_t end = std::min(name.find_first_of(".["), name.size());
    Value value = first(name.substr(0, end));
    name.remove_prefix(end);
    while (!name.empty()) {
      if (name[0] == '.') {
        name.remove_prefix(1);
        const size_t stop = std::min(name.find_first_of(".["), name.size());
        value = runtime_.attribute(value, std::string(name.substr(0, stop)));
        name.remove_prefix(stop);
        continue;
      }
      const size_t stop = name.find(']');
      if (stop == std::string_view::npos) fail_runtime("Missing ']' in format string");
      const std::string_view key = name.substr(1, stop - 1);
      Int number = 0;
      const bool digits = !key.empty() && key.find_first_not_of("0123456789") == key.npos;
      value = runtime_.item(
          value, digits && parse_whole(key, 10, number) ? Value(number) : runtime_.text(key));
      name.remove_prefix(stop + 1);
    }
    return value;
  }

  Value first(std::string_view name) {
    const bool digits = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits) {
      Int index = 0;
      if (name.empty()) {
        if (manual_) fail_runtime("cannot switch from manual field specification to automatic");
        automatic_ = true;
        index = static_cast<Int>(next_++);
      } else {
        if (automatic_) fail_runtime("cannot switch from automatic field numbering to manual");
        manual_ = true;
        parse_whole(name, 10, index);
      }
      if (index >= static_cast<Int>(arguments_.positional.size())) {
        fail_runtime("Replacement index out of range for positional args tuple");
      }
      return arguments_.positional[static_cast<size_t>(index)];
    }
    for (const auto& [known, value] : arguments_.named) {
      if (known == name) return value;
    }
    fail_runtime("KeyError: " + repr_text(name));
  }

  Runtime& runtime_;
  std::string_view rest_;
  const Arguments& arguments_;
  size_t next_ = 0;
  bool automatic_ = false, manual_ = false;
};

}  // namespace

std::string percent_format(Runtime& runtime, const std::string& format, const Value& arguments) {
  return Percent(runtime, format, arguments).run();
}

std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments) {
  return Braces(runtime, format, arguments).run();
}

}  // namespace zeroth::jinja
