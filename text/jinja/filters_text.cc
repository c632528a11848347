// Filters on texts (jinja2/filters.py).
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/filters.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {
namespace {

constexpr int64_t kMaxIndent = 1 << 20;

bool is_markup(const Value& value) { return value.is(Type::kText) && value.text().markup; }

// soft_str: a text as it is, anything else printed.
Value as_text(Runtime& runtime, const Value& value) {
  return value.is(Type::kText) ? value : runtime.text(runtime.str(value));
}

// A method of the text that a value is.
Value method(Runtime& runtime, const Value& subject, const char* name, Arguments arguments) {
  Value found;
  bool unsafe = false;
  const Value text = as_text(runtime, subject);
  find_method(runtime, text, name, found, unsafe);
  return runtime.call(found, arguments);
}

Value upper(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "upper", {});
  return method(runtime, subject, "upper", {});
}
Value lower(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "lower", {});
  return method(runtime, subject, "lower", {});
}
Value capitalize(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "capitalize", {});
  return method(runtime, subject, "capitalize", {});
}

// Words begin behind white space and brackets, unlike str.title.
Value title(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "title", {});
  const Value text = as_text(runtime, subject);
  runtime.spend_bytes(4 * text.bytes().size());
  const auto divides = [](uint32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || is_space(c);
  };
  std::string out;
  for (std::string_view rest = text.bytes(); !rest.empty();) {
    const bool between = divides(first_character(rest).code);
    size_t end = 0;
    while (end < rest.size() && divides(first_character(rest.substr(end)).code) == between) {
      end += static_cast<size_t>(first_character(rest.substr(end)).bytes);
    }
    const auto first = static_cast<size_t>(first_character(rest).bytes);
    out += upper_case(rest.substr(0, first)) + lower_case(rest.substr(first, end - first));
    rest.remove_prefix(end);
  }
  return runtime.text(std::move(out));
}

Value trim(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "trim", {"chars"});
  Arguments chars;
  if (args[0] != nullptr) chars.positional.push_back(*args[0]);
  return method(runtime, subject, "strip", std::move(chars));
}

Value center(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "center", {"width"});
  Arguments width;
  width.positional.push_back(args[0] != nullptr ? *args[0] : Value::integer(80));
  return method(runtime, subject, "center", std::move(width));
}

Value replace(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "replace", {"old", "new", "count"}, 2);
  const bool all = args[2] == nullptr || args[2]->is(Type::kNone);
  const int64_t most = all ? -1 : whole_argument(runtime, *args[2], "replace");
  const std::string text = runtime.str(subject);
  runtime.spend_bytes(text.size());
  return runtime.text(
      replaced(text, runtime.str(*args[0]), runtime.str(*args[1]), most, runtime.text_room()));
}

Value truncate(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "truncate", {"length", "killwords", "end", "leeway"});
  const int64_t length = args[0] == nullptr ? 255 : whole_argument(runtime, *args[0], "truncate");
  const std::string end = args[2] == nullptr ? "..." : text_argument(*args[2], "truncate");
  const int64_t end_length = code_points(end);
  const bool default_leeway = args[3] == nullptr || args[3]->is(Type::kNone);
  const int64_t leeway = default_leeway ? 5 : whole_argument(runtime, *args[3], "truncate");
  if (length < end_length) fail_runtime("expected length >= " + std::to_string(end_length));
  if (leeway < 0) fail_runtime("expected leeway >= 0");
  if (!subject.is(Type::kText)) {
    fail_runtime(std::string("object of type '") + type_name(subject) + "' has no len()");
  }
  if (subject.text().length <= length + leeway) return subject;
  std::string_view kept = characters(subject.bytes(), 0, length - end_length);
  if (args[1] == nullptr || !runtime.truth(*args[1])) {
    kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  }
  return runtime.text(std::string(kept) + end);
}

Value wordcount(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "wordcount", {});
  const std::string text = runtime.str(subject);
  runtime.spend_bytes(text.size());
  int64_t words = 0;
  bool inside = false;
  for (std::string_view rest = text; !rest.empty();) {
    const Character c = first_character(rest);
    const bool word = c.code == '_' || is_alphabetic(c.code) || is_decimal(c.code) ||
                      is_digit(c.code) || (c.code >= 0x80 && c.code < 0x3400 && is_numeric(c.code));
    words += word && !inside;
    inside = word;
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return Value::integer(words);
}

Value indent(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const auto args = bound(arguments, "indent", {"width", "first", "blank"});
  if (!subject.is(Type::kText)) {
    fail_runtime(std::string("unsupported operand type(s) for +=: '") + type_name(subject) +
                 "' and 'str'");
  }
  std::string indention(4, ' ');
  if (args[0] != nullptr && args[0]->is(Type::kText)) {
    indention = args[0]->bytes();
  } else if (args[0] != nullptr) {
    const int64_t width = std::max<int64_t>(whole_argument(runtime, *args[0], "indent"), 0);
    if (width > kMaxIndent) fail_as(Fault::kLimit, "an indentation of " + std::to_string(width));
    indention.assign(static_cast<size_t>(width), ' ');
  }
  const auto set = [&](const Value* value) { return value != nullptr && runtime.truth(*value); };
  std::string out = set(args[1]) ? indention : "";
  runtime.spend_bytes(subject.bytes().size());
  const std::string whole = subject.bytes() + "\n";
  bool head = true;
  for (const std::string_view line : split_lines(whole, false)) {
    if (!head) {
      out += '\n';
      if (!line.empty() || set(args[2])) out += indention;
    }
    head = false;
    out += line;
    if (out.size() > runtime.text_room()) fail_as(Fault::kLimit, "a text grows too long");
  }
  return runtime.text(std::move(out), subject.text().markup);
}

Value format(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  if (!arguments.positional.empty() && !arguments.named.empty()) {
    fail_runtime("can't handle positional and keyword arguments at the same time");
  }
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : arguments.named) named.emplace_back(runtime.text(name), value);
  const Value given =
      named.empty() ? runtime.tuple(arguments.positional) : runtime.dict(std::move(named));
  return runtime.binary("%", as_text(runtime, subject), given);
}

Value escape(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "escape", {});
  return is_markup(subject) ? subject : runtime.text(html_escaped(runtime.str(subject)), true);
}
Value forceescape(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "forceescape", {});
  return runtime.text(html_escaped(runtime.str(subject)), true);
}
Value safe(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "safe", {});
  return runtime.text(runtime.str(subject), true);
}
Value string(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "string", {});
  return as_text(runtime, subject);
}

std::string url_quoted(const std::string& text, bool for_query) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("_.-~").find(c) != std::string_view::npos ||
        (c == '/' && !for_query)) {
      out += c;
    } else if (c == ' ' && for_query) {
      out += '+';
    } else {
      out += '%';
      out += "0123456789ABCDEF"[byte >> 4];
      out += "0123456789ABCDEF"[byte & 15];
    }
  }
  return out;
}

Value urlencode(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "urlencode", {});
  if (subject.is(Type::kText) || !runtime.is_iterable(subject)) {
    return runtime.text(url_quoted(runtime.str(subject), false));
  }
  std::string out;
  const bool dict = subject.is(Type::kDict);
  for (const Value& item : runtime.items_of(subject)) {
    const Value key = dict ? item : runtime.item(item, Value::integer(0));
    const Value value =
        dict ? *subject.mapping().find(item) : runtime.item(item, Value::integer(1));
    out += (out.empty() ? "" : "&") + url_quoted(runtime.str(key), true) + "=" +
           url_quoted(runtime.str(value), true);
  }
  return runtime.text(std::move(out));
}

}  // namespace

FilterTable text_filters() {
  return {{"upper", upper},
          {"lower", lower},
          {"capitalize", capitalize},
          {"title", title},
          {"trim", trim},
          {"center", center},
          {"replace", replace},
          {"truncate", truncate},
          {"wordcount", wordcount},
          {"indent", indent},
          {"format", format},
          {"escape", escape},
          {"e", escape},
          {"forceescape", forceescape},
          {"safe", safe},
          {"string", string},
          {"urlencode", urlencode}};
}

}  // namespace zeroth::jinja
