// Methods of texts and containers.
#include <algorithm>
#include <array>
#include <unordered_map>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

using Method = Value (*)(Runtime&, const Value& self, const Arguments&);

bool none_or_absent(const Value* value) { return value == nullptr || value->is(Type::kNone); }

// An argument that joins a Markup is escaped.
std::string beside(const Value& self, const Value& argument, const char* function) {
  const std::string& bytes = text_argument(argument, function);
  return self.text().markup && !argument.text().markup ? html_escaped(bytes) : bytes;
}

Value text_like(Runtime& runtime, const Value& self, std::string bytes) {
  return runtime.text(std::move(bytes), self.text().markup);
}

template <Side kSide>
Value strip(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "strip", {"chars"});
  runtime.spend_bytes(self.bytes().size());
  if (none_or_absent(args[0])) {
    return text_like(runtime, self, std::string(stripped(self.bytes(), kSide)));
  }
  const std::string& set = text_argument(*args[0], "strip");
  return text_like(runtime, self, std::string(stripped_of(self.bytes(), set, kSide)));
}

template <std::string (*kMapped)(std::string_view)>
Value mapped(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bound(arguments, "case", {});
  runtime.spend_bytes(4 * self.bytes().size());
  return text_like(runtime, self, kMapped(self.bytes()));
}

Value texts(Runtime& runtime, const Value& self, const std::vector<std::string_view>& parts) {
  std::vector<Value> out;
  out.reserve(parts.size());
  for (const std::string_view part : parts) {
    out.push_back(runtime.text(part, self.text().markup));
  }
  return runtime.list(std::move(out));
}

template <bool kFromRight>
Value split(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "split", {"sep", "maxsplit"});
  const int64_t most = args[1] == nullptr ? -1 : whole_argument(runtime, *args[1], "split");
  runtime.spend_bytes(self.bytes().size());
  if (none_or_absent(args[0]))
    return texts(runtime, self, split_words(self.bytes(), most, kFromRight));
  const std::string& separator = text_argument(*args[0], "split");
  if (separator.empty()) fail_runtime("empty separator");
  return texts(runtime, self, split_at(self.bytes(), separator, most, kFromRight));
}

Value splitlines(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "splitlines", {"keepends"});
  runtime.spend_bytes(self.bytes().size());
  return texts(runtime, self,
               split_lines(self.bytes(), args[0] != nullptr && runtime.truth(*args[0])));
}

template <bool kFromRight>
Value partition(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "partition", {"sep"}, 1);
  const std::string& separator = text_argument(*args[0], "partition");
  if (separator.empty()) fail_runtime("empty separator");
  const std::string_view whole = self.bytes();
  runtime.spend_bytes(whole.size());
  const size_t at = kFromRight ? whole.rfind(separator) : whole.find(separator);
  const bool markup = self.text().markup;
  if (at == std::string_view::npos) {
    const Value empty = runtime.text("", markup);
    return kFromRight ? runtime.tuple({empty, empty, self}) : runtime.tuple({self, empty, empty});
  }
  return runtime.tuple({runtime.text(whole.substr(0, at), markup), runtime.text(separator, markup),
                        runtime.text(whole.substr(at + separator.size()), markup)});
}

Value replace(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "replace", {"old", "new", "count"}, 2);
  const int64_t most = args[2] == nullptr ? -1 : whole_argument(runtime, *args[2], "replace");
  runtime.spend_bytes(self.bytes().size());
  return text_like(runtime, self,
                   replaced(self.bytes(), text_argument(*args[0], "replace"),
                            beside(self, *args[1], "replace"), most, runtime.text_room()));
}

Value join(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "join", {"iterable"}, 1);
  std::string out;
  bool first = true;
  const Iterator::Next next = runtime.iterate(*args[0]);
  for (Value item; next(item);) {
    if (!first) out += self.bytes();
    first = false;
    if (!item.is(Type::kText)) {
      fail_runtime(std::string("sequence item: expected str instance, ") + type_name(item) +
                   " found");
    }
    out += beside(self, item, "join");
    if (out.size() > runtime.text_room()) fail_as(Fault::kLimit, "a text grows too long");
  }
  return text_like(runtime, self, std::move(out));
}

// The text between the optional arguments start and end.
std::string_view within(Runtime& runtime, const Value& self, const Value* start, const Value* end,
                        int64_t& skipped) {
  runtime.spend_bytes(self.bytes().size());
  const int64_t length = self.text().length;
  const auto limit = [&](const Value* value, int64_t fallback) {
    if (none_or_absent(value)) return fallback;
    int64_t at = whole_argument(runtime, *value, "index");
    if (at < 0) at = std::max<int64_t>(0, at + length);
    return at;
  };
  skipped = limit(start, 0);
  const int64_t stop = std::min(limit(end, length), length);
  return skipped > length ? std::string_view() : characters(self.bytes(), skipped, stop);
}

template <bool kLast, bool kMustBe>
Value find(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "find", {"sub", "start", "end"}, 1);
  int64_t skipped = 0;
  const std::string_view part = within(runtime, self, args[1], args[2], skipped);
  const std::string& wanted = text_argument(*args[0], "find");
  size_t at = kLast ? part.rfind(wanted) : part.find(wanted);
  if (skipped > self.text().length) at = std::string_view::npos;
  if (at != std::string_view::npos) {
    return Value::integer(skipped + code_points(part.substr(0, at)));
  }
  if (kMustBe) fail_runtime("substring not found");
  return Value::integer(-1);
}

Value count(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "count", {"sub", "start", "end"}, 1);
  int64_t skipped = 0;
  std::string_view part = within(runtime, self, args[1], args[2], skipped);
  const std::string& wanted = text_argument(*args[0], "count");
  if (wanted.empty()) return Value::integer(code_points(part) + 1);
  int64_t found = 0;
  for (size_t at = part.find(wanted); at != std::string_view::npos; at = part.find(wanted)) {
    ++found;
    part.remove_prefix(at + wanted.size());
  }
  return Value::integer(found);
}

template <bool kEnd>
Value has_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args =
      bound(arguments, kEnd ? "endswith" : "startswith", {"affix", "start", "end"}, 1);
  int64_t skipped = 0;
  const std::string_view part = within(runtime, self, args[1], args[2], skipped);
  std::vector<Value> affixes{*args[0]};
  if (args[0]->is(Type::kTuple)) affixes = args[0]->sequence().items;
  return Value(std::any_of(affixes.begin(), affixes.end(), [&](const Value& affix) {
    const std::string& text = text_argument(affix, kEnd ? "endswith" : "startswith");
    return skipped <= self.text().length && (kEnd ? part.ends_with(text) : part.starts_with(text));
  }));
}

template <bool kEnd>
Value remove_affix(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "removeprefix", {"affix"}, 1);
  const std::string& affix = text_argument(*args[0], "removeprefix");
  std::string_view out = self.bytes();
  if (kEnd ? out.ends_with(affix) : out.starts_with(affix)) {
    out = kEnd ? out.substr(0, out.size() - affix.size()) : out.substr(affix.size());
  }
  return text_like(runtime, self, std::string(out));
}

// Blanks at the left, the right or both sides up to a width.
template <bool kLeft, bool kRight>
Value padded(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "center", {"width", "fillchar"}, 1);
  const int64_t width = whole_argument(runtime, *args[0], "center");
  const std::string fill = args[1] == nullptr ? " " : beside(self, *args[1], "center");
  if (args[1] != nullptr && code_points(text_argument(*args[1], "center")) != 1) {
    fail_runtime("The fill character must be exactly one character long");
  }
  const int64_t missing = width - self.text().length;
  if (missing <= 0) return self;
  if (static_cast<size_t>(missing) > runtime.text_room() / 4) {
    fail_as(Fault::kLimit, "a text grows too long");
  }
  // Python's rule for where the odd blank of center goes.
  const int64_t left = !kLeft ? 0 : !kRight ? missing : missing / 2 + (missing & width & 1);
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill;
  out += self.bytes();
  for (int64_t i = left; i < missing; ++i) out += fill;
  return text_like(runtime, self, std::move(out));
}

Value zfill(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "zfill", {"width"}, 1);
  const int64_t missing = whole_argument(runtime, *args[0], "zfill") - self.text().length;
  if (missing <= 0) return self;
  if (static_cast<size_t>(missing) > runtime.text_room()) {
    fail_as(Fault::kLimit, "a text grows too long");
  }
  std::string out = self.bytes();
  const bool sign = !out.empty() && (out[0] == '-' || out[0] == '+');
  out.insert(sign ? 1 : 0, static_cast<size_t>(missing), '0');
  return text_like(runtime, self, std::move(out));
}

Value expandtabs(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "expandtabs", {"tabsize"});
  const int64_t size = args[0] == nullptr ? 8 : whole_argument(runtime, *args[0], "expandtabs");
  std::string out;
  int64_t column = 0;
  for (std::string_view rest = self.bytes(); !rest.empty();) {
    const Character c = first_character(rest);
    if (c.code == '\t') {
      const int64_t blanks = size > 0 ? size - column % size : 0;
      if (static_cast<size_t>(blanks) >
          runtime.text_room() - std::min(runtime.text_room(), out.size())) {
        fail_as(Fault::kLimit, "a text grows too long");
      }
      out.append(static_cast<size_t>(blanks), ' ');
      column += blanks;
    } else {
      out += rest.substr(0, static_cast<size_t>(c.bytes));
      column = c.code == '\n' || c.code == '\r' ? 0 : column + 1;
    }
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return text_like(runtime, self, std::move(out));
}

template <bool (*kIs)(uint32_t)>
Value all_are(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bound(arguments, "is", {});
  std::string_view rest = self.bytes();
  runtime.spend_bytes(rest.size());
  if (rest.empty()) return Value(kIs == is_printable);
  for (; !rest.empty(); rest.remove_prefix(static_cast<size_t>(first_character(rest).bytes))) {
    if (!kIs(first_character(rest).code)) return Value(false);
  }
  return Value(true);
}

bool is_alphanumeric(uint32_t c) {
  return is_alphabetic(c) || is_decimal(c) || is_digit(c) || is_numeric(c);
}

// At least one cased character, and all of them of one case.
template <bool kUpper>
Value has_case(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bound(arguments, "is", {});
  runtime.spend_bytes(self.bytes().size());
  bool any = false;
  for (std::string_view rest = self.bytes(); !rest.empty();) {
    const Character c = first_character(rest);
    if (is_title(c.code) || (kUpper ? is_lower(c.code) : is_upper(c.code))) return Value(false);
    any = any || (kUpper ? is_upper(c.code) : is_lower(c.code));
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return Value(any);
}

Value istitle(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bound(arguments, "istitle", {});
  runtime.spend_bytes(self.bytes().size());
  bool any = false, inside = false;
  for (std::string_view rest = self.bytes(); !rest.empty();) {
    const Character c = first_character(rest);
    const bool upper = is_upper(c.code) || is_title(c.code);
    if (upper ? inside : is_lower(c.code) && !inside) return Value(false);
    inside = upper || is_lower(c.code);
    any = any || inside;
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return Value(any);
}

bool is_ascii(uint32_t c) { return c < 0x80; }

Value isascii(Runtime& runtime, const Value& self, const Arguments& arguments) {
  return self.bytes().empty() ? Value(true) : all_are<is_ascii>(runtime, self, arguments);
}

Value isidentifier(Runtime&, const Value& self, const Arguments& arguments) {
  bound(arguments, "isidentifier", {});
  bool first = true;
  for (std::string_view rest = self.bytes(); !rest.empty();) {
    const Character c = first_character(rest);
    const bool start = c.code == '_' || is_alphabetic(c.code);
    if (!start && (first || !is_decimal(c.code))) return Value(false);
    first = false;
    rest.remove_prefix(static_cast<size_t>(c.bytes));
  }
  return Value(!first);
}

Value format(Runtime& runtime, const Value& self, const Arguments& arguments) {
  if (self.text().markup) fail_unsupported("format() of a text that was marked as safe");
  return runtime.text(brace_format(runtime, self.bytes(), arguments));
}

const std::unordered_map<std::string, Method>& text_methods() {
  static const std::unordered_map<std::string, Method> table = {
      {"strip", strip<Side::kBoth>},
      {"lstrip", strip<Side::kLeft>},
      {"rstrip", strip<Side::kRight>},
      {"upper", mapped<upper_case>},
      {"lower", mapped<lower_case>},
      {"title", mapped<title_case>},
      {"capitalize", mapped<capitalized>},
      {"swapcase", mapped<swapped_case>},
      {"casefold", mapped<case_folded>},
      {"split", split<false>},
      {"rsplit", split<true>},
      {"splitlines", splitlines},
      {"partition", partition<false>},
      {"rpartition", partition<true>},
      {"replace", replace},
      {"join", join},
      {"find", find<false, false>},
      {"rfind", find<true, false>},
      {"index", find<false, true>},
      {"rindex", find<true, true>},
      {"count", count},
      {"startswith", has_affix<false>},
      {"endswith", has_affix<true>},
      {"removeprefix", remove_affix<false>},
      {"removesuffix", remove_affix<true>},
      {"ljust", padded<false, true>},
      {"rjust", padded<true, false>},
      {"center", padded<true, true>},
      {"zfill", zfill},
      {"expandtabs", expandtabs},
      {"isalpha", all_are<is_alphabetic>},
      {"isdigit", all_are<is_digit>},
      {"isdecimal", all_are<is_decimal>},
      {"isnumeric", all_are<is_numeric>},
      {"isalnum", all_are<is_alphanumeric>},
      {"isspace", all_are<is_space>},
      {"isprintable", all_are<is_printable>},
      {"isascii", isascii},
      {"isupper", has_case<true>},
      {"islower", has_case<false>},
      {"istitle", istitle},
      {"isidentifier", isidentifier},
      {"format", format},
  };
  return table;
}

Value get(Runtime&, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "get", {"key", "default"}, 1);
  const Value* found = self.mapping().find(*args[0]);
  return found != nullptr ? *found : args[1] != nullptr ? *args[1] : Value();
}

template <View::Of kOf>
Value view(Runtime& runtime, const Value& self, const Arguments& arguments) {
  bound(arguments, "items", {});
  return {Type::kView, std::make_shared<View>(runtime.memory(), self, kOf)};
}

Value copy(Runtime&, const Value& self, const Arguments& arguments) {
  bound(arguments, "copy", {});
  return self;  // values do not change
}

Value index_of(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "index", {"value"}, 1);
  const auto& items = self.sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (runtime.equal(items[i], *args[0])) return Value::integer(static_cast<int64_t>(i));
  }
  fail_runtime(runtime.repr(*args[0]) + " is not in the list");
}

Value count_of(Runtime& runtime, const Value& self, const Arguments& arguments) {
  const auto args = bound(arguments, "count", {"value"}, 1);
  const auto& items = self.sequence().items;
  return Value::integer(std::count_if(items.begin(), items.end(), [&](const Value& item) {
    return runtime.equal(item, *args[0]);
  }));
}

Value cycler_next(Runtime&, const Value& self, const Arguments& arguments) {
  bound(arguments, "next", {});
  auto& cycler = self.as<Cycler>();
  const Value out = cycler.items[cycler.at];
  cycler.at = (cycler.at + 1) % cycler.items.size();
  return out;
}

Value cycler_reset(Runtime&, const Value& self, const Arguments& arguments) {
  bound(arguments, "reset", {});
  self.as<Cycler>().at = 0;
  return {};
}

// dict.fromkeys, of the global name `dict`.
Value from_keys(Runtime& runtime, const Value&, const Arguments& arguments) {
  const auto args = bound(arguments, "fromkeys", {"iterable", "value"}, 1);
  std::vector<std::pair<Value, Value>> items;
  for (const Value& key : runtime.items_of(*args[0])) {
    items.emplace_back(key, args[1] != nullptr ? *args[1] : Value());
  }
  return runtime.dict(std::move(items));
}

// Methods of a container; null: it has none of that name.
Method container_method(const Value& object, const std::string& name) {
  if (object.is(Type::kDict)) {
    if (name == "get") return get;
    if (name == "items") return view<View::Of::kItems>;
    if (name == "keys") return view<View::Of::kKeys>;
    if (name == "values") return view<View::Of::kValues>;
    if (name == "copy") return copy;
  } else if (object.is_sequence()) {
    if (name == "index") return index_of;
    if (name == "count") return count_of;
    if (name == "copy" && object.is(Type::kList)) return copy;
  } else if (object.is(Type::kFunction)) {
    if (name == "fromkeys" && object.as<Function>().name == "dict") return from_keys;
  } else if (object.is(Type::kCycler)) {
    if (name == "next") return cycler_next;
    if (name == "reset") return cycler_reset;
  }
  return nullptr;
}

bool listed(const std::string& name, std::initializer_list<const char*> names) {
  return std::any_of(names.begin(), names.end(), [&](const char* known) { return name == known; });
}

// Methods that would change their object.
bool changes(const Value& object, const std::string& name) {
  if (object.is(Type::kDict)) {
    return listed(name, {"clear", "pop", "popitem", "setdefault", "update"});
  }
  return object.is(Type::kList) &&
         listed(name, {"append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"});
}

// Methods that Python has and that are not read here.
bool unread(const Value& object, const std::string& name) {
  switch (object.type()) {
    case Type::kText:
      return listed(name, {"encode", "translate", "maketrans", "format_map"}) ||
             (object.text().markup && listed(name, {"unescape", "striptags", "escape"}));
    case Type::kDict:
      return name == "fromkeys";
    case Type::kBool:
    case Type::kInt:
      return listed(
          name, {"real", "imag", "numerator", "denominator", "bit_length", "bit_count", "conjugate",
                 "to_bytes", "from_bytes", "as_integer_ratio", "is_integer"});
    case Type::kFloat:
      return listed(
          name, {"real", "imag", "conjugate", "hex", "fromhex", "is_integer", "as_integer_ratio"});
    case Type::kRange:
      return listed(name, {"start", "stop", "step", "count", "index"});
    case Type::kView:
      return listed(name, {"mapping", "isdisjoint"});
    default:
      return false;
  }
}

}  // namespace

bool find_method(Runtime& runtime, const Value& object, const std::string& name, Value& method,
                 bool& unsafe) {
  unsafe = changes(object, name);
  if (unsafe) return true;
  Method found = container_method(object, name);
  if (object.is(Type::kText)) {
    const auto at = text_methods().find(name);
    if (at != text_methods().end()) found = at->second;
  }
  if (found == nullptr) {
    if (object.is(Type::kCycler) && name == "current") {
      method = object.as<Cycler>().items[object.as<Cycler>().at];
      return true;
    }
    if (unread(object, name)) {
      fail_unsupported(std::string("." + name + " of a ") + type_name(object));
    }
    return false;
  }
  method = runtime.function(name, [object, found](Runtime& at, Arguments& arguments) {
    return found(at, object, arguments);
  });
  return true;
}

}  // namespace zeroth::jinja
