// The functions that every template finds, and JSON.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

constexpr int64_t kMaxRange = 100000;  // of Jinja's sandbox

Value range(Runtime& runtime, Arguments& arguments) {
  const auto args = bound(arguments, "range", {"start", "stop", "step"}, 1);
  if (!arguments.named.empty()) fail_runtime("range() takes no keyword arguments");
  const auto number = [&](size_t i) { return whole_argument(runtime, *args[i], "range"); };
  const int64_t start = args[1] == nullptr ? 0 : number(0);
  const int64_t stop = args[1] == nullptr ? number(0) : number(1);
  const int64_t step = args[2] == nullptr ? 1 : number(2);
  if (step == 0) fail_runtime("range() arg 3 must not be zero");
  constexpr int64_t kFar = int64_t{1} << 61;
  if (start > kFar || start < -kFar || stop > kFar || stop < -kFar || step > kFar || step < -kFar) {
    fail_as(Fault::kLimit, "a range of numbers beyond 2^61");
  }
  const Value out = runtime.range(start, stop, step);
  if (out.as<Range>().size() > kMaxRange) {
    fail_runtime("Range too big. The sandbox blocks ranges larger than MAX_RANGE (100000).");
  }
  return out;
}

// Pairs of a dict, or of a sequence of pairs.
std::vector<std::pair<Value, Value>> pairs_of(Runtime& runtime, const Value& value) {
  if (value.is(Type::kDict)) return value.mapping().items;
  std::vector<std::pair<Value, Value>> out;
  for (const Value& item : runtime.items_of(value)) {
    const std::vector<Value> pair = runtime.items_of(item);
    if (pair.size() != 2) {
      fail_runtime("dictionary update sequence element has length " + std::to_string(pair.size()) +
                   "; 2 is required");
    }
    out.emplace_back(pair[0], pair[1]);
  }
  return out;
}

Value dict(Runtime& runtime, Arguments& arguments) {
  if (arguments.positional.size() > 1) fail_runtime("dict expected at most 1 argument");
  std::vector<std::pair<Value, Value>> items;
  if (!arguments.positional.empty()) items = pairs_of(runtime, arguments.positional[0]);
  for (const auto& [name, value] : arguments.named) items.emplace_back(runtime.text(name), value);
  return runtime.dict(std::move(items));
}

Value make_namespace(Runtime& runtime, Arguments& arguments) {
  const Value attributes = dict(runtime, arguments);
  std::vector<std::pair<std::string, Value>> named;
  for (const auto& [name, value] : attributes.mapping().items) {
    named.emplace_back(text_argument(name, "namespace"), value);
  }
  return runtime.new_namespace(std::move(named));
}

Value cycler(Runtime& runtime, Arguments& arguments) {
  if (arguments.positional.empty()) fail_runtime("at least one item has to be provided");
  return {Type::kCycler, std::make_shared<Cycler>(runtime.memory(), arguments.positional)};
}

Value joiner(Runtime& runtime, Arguments& arguments) {
  const auto args = bound(arguments, "joiner", {"sep"});
  return {Type::kJoiner, std::make_shared<Joiner>(
                             runtime.memory(), args[0] != nullptr ? *args[0] : runtime.text(", "))};
}

Value raise_exception(Runtime& runtime, Arguments& arguments) {
  const auto args = bound(arguments, "raise_exception", {"message"}, 1);
  fail_as(Fault::kRaised, runtime.str(*args[0]));
}

// --- JSON ---

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void write(const Value& value, int level) {
    const Runtime::Deeper deeper(runtime_);
    runtime_.spend(0);
    if (out.size() > runtime_.text_room()) fail_as(Fault::kLimit, "a text grows too long");
    switch (value.type()) {
      case Type::kNone:
        out += "null";
        return;
      case Type::kBool:
        out += value.boolean() ? "true" : "false";
        return;
      case Type::kInt:
        out += whole_text(value.whole());
        return;
      case Type::kFloat:
        out += number(value.real());
        return;
      case Type::kText:
        return write_text(value.bytes());
      case Type::kList:
      case Type::kTuple:
        return write_list(value.sequence().items, level);
      case Type::kDict:
        return write_dict(value, level);
      default:
        fail_runtime(std::string("Object of type ") + type_name(value) +
                     " is not JSON serializable");
    }
  }

  std::string out;

 private:
  static std::string number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
    return real_text(value);
  }

  void line(int level) {
    if (!style_.indented) return;
    out += '\n';
    for (int i = 0; i < level; ++i) out += style_.indent;
  }

  void write_list(const std::vector<Value>& items, int level) {
    out += '[';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.between;
      line(level + 1);
      write(items[i], level + 1);
    }
    if (!items.empty()) line(level);
    out += ']';
  }

  void write_dict(const Value& dict, int level) {
    std::vector<std::pair<Value, Value>> items = dict.mapping().items;
    if (style_.sorted) {
      std::stable_sort(items.begin(), items.end(), [&](const auto& a, const auto& b) {
        return runtime_.less(a.first, b.first);
      });
    }
    out += '{';
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += style_.between;
      line(level + 1);
      write_text(key(items[i].first));
      out += style_.after_key;
      write(items[i].second, level + 1);
    }
    if (!items.empty()) line(level);
    out += '}';
  }

  static std::string key(const Value& value) {
    switch (value.type()) {
      case Type::kText:
        return value.bytes();
      case Type::kNone:
        return "null";
      case Type::kBool:
        return value.boolean() ? "true" : "false";
      case Type::kInt:
        return whole_text(value.whole());
      case Type::kFloat:
        return number(value.real());
      default:
        fail_runtime(std::string("keys must be str, int, float, bool or None, not ") +
                     type_name(value));
    }
  }

  void write_text(const std::string& text) {
    runtime_.spend_bytes(text.size());
    out += '"';
    for (std::string_view rest = text; !rest.empty();) {
      const Character c = first_character(rest);
      constexpr std::string_view kNamed = "\"\\\b\f\n\r\t";
      constexpr std::string_view kLetters = "\"\\bfnrt";
      const size_t at = c.code < 0x80 ? kNamed.find(static_cast<char>(c.code)) : kNamed.npos;
      if (at != kNamed.npos) {
        out += '\\';
        out += kLetters[at];
      } else if (c.code < 0x20 || (style_.ascii && c.code >= 0x7f)) {
        if (c.code == 0x7f) {
          out += static_cast<char>(c.code);
        } else if (c.code > 0xffff) {
          escape(0xd800 + ((c.code - 0x10000) >> 10));
          escape(0xdc00 + ((c.code - 0x10000) & 0x3ff));
        } else {
          escape(c.code);
        }
      } else {
        out += rest.substr(0, static_cast<size_t>(c.bytes));
      }
      rest.remove_prefix(static_cast<size_t>(c.bytes));
    }
    out += '"';
  }

  void escape(uint32_t unit) {
    char escaped[16];
    std::snprintf(escaped, sizeof escaped, "\\u%04x", unit);
    out += escaped;
  }

  Runtime& runtime_;
  const JsonStyle& style_;
};

}  // namespace

Value global_function(Runtime& runtime, const std::string& name) {
  if (name == "range") return runtime.function(name, range);
  if (name == "dict") return runtime.function(name, dict);
  if (name == "namespace") return runtime.function(name, make_namespace);
  if (name == "cycler") return runtime.function(name, cycler);
  if (name == "joiner") return runtime.function(name, joiner);
  if (name == "raise_exception") return runtime.function(name, raise_exception);
  if (name == "lipsum") {
    return runtime.function(
        name, [](Runtime&, Arguments&) -> Value { fail_unsupported("lipsum(), which is random"); });
  }
  return Value::missing();
}

std::string json_text(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.write(value, 0);
  return std::move(writer.out);
}

}  // namespace zeroth::jinja
