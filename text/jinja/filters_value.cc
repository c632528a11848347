// Filters on numbers and on any value, and the way to all of them.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

Value default_value(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "default", {"default_value", "boolean"});
  const bool by_truth = args[1] != nullptr && runtime.truth(*args[1]);
  if (!subject.is(Type::kUndefined) && !(by_truth && !runtime.truth(subject))) return subject;
  return args[0] != nullptr ? *args[0] : runtime.text("");
}

// int(value) of Python for a float; false when it has none.
bool whole_of(double value, Int& out) {
  if (!std::isfinite(value)) return false;
  if (std::abs(value) > 1e38) fail_as(Fault::kLimit, "an integer has more than 127 bits");
  out = static_cast<Int>(value);
  return true;
}

Value to_int(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "int", {"default", "base"});
  const int64_t base = args[1] == nullptr ? 10 : whole_argument(runtime, *args[1], "int");
  if (base != 0 && (base < 2 || base > 36)) fail_runtime("int() base must be >= 2 and <= 36, or 0");
  if (subject.is(Type::kUndefined)) runtime.attribute(subject, "int");  // throws what it says
  Int out = 0;
  double real = 0;
  if (subject.is_whole()) return Value(subject.whole());
  if (subject.is(Type::kFloat) && whole_of(subject.real(), out)) return Value(out);
  if (subject.is(Type::kText)) {
    if (parse_whole(subject.bytes(), static_cast<int>(base), out)) return Value(out);
    if (parse_real(subject.bytes(), real) && whole_of(real, out)) return Value(out);
  }
  return args[0] != nullptr ? *args[0] : Value::integer(0);
}

Value to_float(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "float", {"default"});
  if (subject.is(Type::kUndefined)) runtime.attribute(subject, "float");
  if (subject.is_number()) return Value(subject.real());
  double out = 0;
  if (subject.is(Type::kText) && parse_real(subject.bytes(), out)) return Value(out);
  return args[0] != nullptr ? *args[0] : Value(0.0);
}

// round(value, digits) of Python: half to even, on the exact decimal value.
double rounded(double value, int64_t digits) {
  if (!std::isfinite(value)) return value;
  if (digits > 330) return value;
  if (digits < -310) return std::copysign(0.0, value);
  if (digits < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-digits));
    return std::nearbyint(value / unit) * unit;
  }
  char text[700];
  std::snprintf(text, sizeof text, "%.*f", static_cast<int>(digits), value);
  return std::strtod(text, nullptr);
}

Int rounded_whole(Int value, int64_t digits) {
  if (digits >= 0) return value;
  if (digits < -38) return 0;
  Int unit = 1;
  for (int64_t i = digits; i < 0; ++i) unit *= 10;
  const Int down = value - ((value % unit) + unit) % unit;
  const Int rest = value - down;
  const bool up = 2 * rest > unit || (2 * rest == unit && (down / unit) % 2 != 0);
  return up ? down + unit : down;
}

Value round(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "round", {"precision", "method"});
  const int64_t digits = args[0] == nullptr ? 0 : whole_argument(runtime, *args[0], "round");
  const std::string method = args[1] == nullptr ? "common" : runtime.str(*args[1]);
  if (method != "common" && method != "ceil" && method != "floor") {
    fail_runtime("method must be common, ceil or floor");
  }
  if (!subject.is_number()) {
    fail_runtime(std::string("type ") + type_name(subject) + " doesn't define __round__ method");
  }
  if (method == "common") {
    if (subject.is_whole()) return Value(rounded_whole(subject.whole(), digits));
    return Value(rounded(subject.real(), digits));
  }
  const double unit = std::pow(10.0, static_cast<double>(digits));
  const double scaled = subject.real() * unit;
  if (!std::isfinite(scaled)) fail_runtime("cannot convert float infinity to integer");
  return Value((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value absolute(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "abs", {});
  if (subject.is(Type::kFloat)) return Value(std::abs(subject.real()));
  if (!subject.is_whole()) {
    fail_runtime(std::string("bad operand type for abs(): '") + type_name(subject) + "'");
  }
  return subject.whole() < 0 ? runtime.negated(subject) : Value(subject.whole());
}

// The attribute and never the item.
Value attribute(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "attr", {"name"}, 1);
  const std::string name = runtime.str(*args[0]);
  const Value empty = runtime.dict({});
  return runtime.attribute(subject.is(Type::kDict) ? empty : subject, name);
}

JsonStyle json_style(Runtime& runtime, const Arguments& arguments) {
  const auto args =
      bound(arguments, "tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  const auto set = [&](const Value* value) { return value != nullptr && runtime.truth(*value); };
  JsonStyle style;
  style.ascii = set(args[0]);
  style.sorted = set(args[3]);
  if (args[1] != nullptr && !args[1]->is(Type::kNone)) {
    style.indented = true;
    style.between = ",";
    if (args[1]->is(Type::kText)) {
      style.indent = args[1]->bytes();
    } else {
      const int64_t width = std::max<int64_t>(whole_argument(runtime, *args[1], "tojson"), 0);
      if (width > 1 << 16) fail_as(Fault::kLimit, "an indentation of " + std::to_string(width));
      style.indent.assign(static_cast<size_t>(width), ' ');
    }
  }
  if (args[2] != nullptr && !args[2]->is(Type::kNone)) {
    const std::vector<Value> parts = runtime.items_of(*args[2]);
    if (parts.size() != 2) fail_runtime("tojson: separators must be two texts");
    style.between = text_argument(parts[0], "tojson");
    style.after_key = text_argument(parts[1], "tojson");
  }
  return style;
}

Value to_json(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  return runtime.text(json_text(runtime, subject, json_style(runtime, arguments)));
}

Value file_size(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "filesizeformat", {"binary"});
  const bool binary = args[0] != nullptr && runtime.truth(*args[0]);
  const double bytes = to_float(runtime, subject, {}).real();
  const double base = binary ? 1024 : 1000;
  if (bytes == 1) return runtime.text("1 Byte");
  if (bytes < base) return runtime.text(whole_text(static_cast<Int>(bytes)) + " Bytes");
  const std::string letters = binary ? "KMGTPEZY" : "kMGTPEZY";
  double unit = base;
  size_t at = 0;
  for (; at + 1 < letters.size() && bytes >= unit * base; ++at) unit *= base;
  char text[64];
  std::snprintf(text, sizeof text, "%.1f %c%s", bytes / unit, letters[at], binary ? "iB" : "B");
  return runtime.text(text);
}

// Filters of Jinja that nobody reads here.
constexpr const char* kUnread[] = {"pprint", "random",   "striptags",
                                   "urlize", "wordwrap", "xmlattr"};

FilterTable all_filters() {
  FilterTable table = {
      {"default", default_value}, {"d", default_value}, {"int", to_int},
      {"float", to_float},        {"round", round},     {"abs", absolute},
      {"attr", attribute},        {"tojson", to_json},  {"filesizeformat", file_size}};
  table.merge(text_filters());
  table.merge(sequence_filters());
  return table;
}
const FilterTable& filters() {
  static const FilterTable table = all_filters();
  return table;
}

}  // namespace

bool has_filter(const std::string& name) {
  return filters().contains(name) ||
         std::find(std::begin(kUnread), std::end(kUnread), name) != std::end(kUnread);
}

Value Runtime::filter(const std::string& name, const Value& subject, Arguments& arguments) {
  const Deeper deeper(*this);
  spend(1);
  const auto at = filters().find(name);
  if (at != filters().end()) return at->second(*this, subject, arguments);
  if (has_filter(name)) fail_unsupported("the filter '" + name + "'");
  fail_runtime("No filter named " + repr_text(name) + " found.");
}

}  // namespace zeroth::jinja
