// Attributes, items and slices, by the rules of Jinja's sandbox.
#include <algorithm>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

// Jinja's object_type_repr.
std::string shown_type(const Value& value) {
  return value.is(Type::kNone) ? "None" : std::string(type_name(value)) + " object";
}

bool is_dunder(const std::string& name) {
  return name.size() > 4 && name.starts_with("__") && name.ends_with("__");
}

// A position in a sequence of `length` items, from the end when negative; -1: outside.
int64_t position(Int index, int64_t length) {
  if (index < 0) index += length;
  return index < 0 || index >= length ? -1 : static_cast<int64_t>(index);
}

}  // namespace

Value Runtime::missing_attribute(const Value& object, const std::string& name) {
  return undefined(repr_text(shown_type(object)) + " has no attribute " + repr_text(name));
}

// What object[key] finds; null: nothing. `made` holds what is not stored anywhere.
const Value* Runtime::found_item(const Value& object, const Value& key, Value& made) {
  switch (object.type()) {
    case Type::kUndefined:
      fail_undefined(object);
    case Type::kDict:
      if (key.is(Type::kList) || key.is(Type::kDict) || key.is(Type::kView)) return nullptr;
      return object.mapping().find(key);
    case Type::kList:
    case Type::kTuple: {
      if (!key.is_whole()) return nullptr;
      const auto& items = object.sequence().items;
      const int64_t at = position(key.whole(), static_cast<int64_t>(items.size()));
      return at < 0 ? nullptr : &items[static_cast<size_t>(at)];
    }
    case Type::kText: {
      if (!key.is_whole()) return nullptr;
      const int64_t at = position(key.whole(), object.text().length);
      if (at < 0) return nullptr;
      spend_bytes(object.bytes().size());
      made = text(characters(object.bytes(), at, at + 1), object.text().markup);
      return &made;
    }
    case Type::kRange: {
      if (!key.is_whole()) return nullptr;
      const auto& range = object.as<Range>();
      const int64_t at = position(key.whole(), range.size());
      if (at < 0) return nullptr;
      made = Value::integer(range.start + at * range.step);
      return &made;
    }
    default:
      return nullptr;
  }
}

Value Runtime::attribute(const Value& object, const std::string& name) {
  spend(0);
  if (object.is(Type::kUndefined)) fail_undefined(object);
  const auto unsafe_attribute = [&] {
    return undefined("access to attribute " + repr_text(name) + " of " +
                         repr_text(type_name(object)) + " object is unsafe.",
                     true);
  };
  if (is_dunder(name)) return unsafe_attribute();
  if (object.is(Type::kLoop)) return loop_attribute(object, name);
  if (object.is(Type::kMacro)) return macro_attribute(object, name);
  if (object.is(Type::kNamespace)) {
    const Value* found = object.as<Namespace>().find(name);
    return found != nullptr ? *found : missing_attribute(object, name);
  }
  if (object.is(Type::kTuple) && object.sequence().grouped &&
      (name == "grouper" || name == "list")) {
    return object.sequence().items[name == "list"];
  }
  Value method;
  bool unsafe = false;
  if (find_method(*this, object, name, method, unsafe)) {
    return unsafe ? unsafe_attribute() : method;
  }
  Value made;
  const Value* found = found_item(object, text(name), made);
  return found != nullptr ? *found : missing_attribute(object, name);
}

Value Runtime::item(const Value& object, const Value& key) {
  spend(0);
  Value made;
  if (const Value* found = found_item(object, key, made)) return *found;
  if (key.is(Type::kText)) {
    if (object.is(Type::kDict) || object.is_sequence() || object.is(Type::kText)) {
      Value method;
      bool unsafe = false;
      if (!is_dunder(key.bytes()) && !find_method(*this, object, key.bytes(), method, unsafe)) {
        return missing_attribute(object, key.bytes());
      }
    }
    return attribute(object, key.bytes());
  }
  return undefined(shown_type(object) + " has no element " + repr(key));
}

Value Runtime::slice(const Value& object, const Value& begin, const Value& end, const Value& step) {
  spend(0);
  if (object.is(Type::kUndefined)) fail_undefined(object);
  const bool sliceable = object.is(Type::kText) || object.is_sequence() || object.is(Type::kRange);
  for (const Value* index : {&begin, &end, &step}) {
    if (sliceable && (index->is(Type::kNone) || index->is_whole())) continue;
    return undefined(shown_type(object) + " has no element slice");
  }
  const auto bound = [](const Value& value, Int fallback) {
    return value.is(Type::kNone) ? fallback : value.whole();
  };
  const Int by = bound(step, 1);
  if (by == 0) fail_runtime("slice step cannot be zero");
  const Int size = length(object);
  const Int low = by > 0 ? 0 : -1;
  const Int high = by > 0 ? size : size - 1;
  const auto limit = [&](const Value& value, Int fallback) {
    Int at = bound(value, fallback);
    if (value.is(Type::kNone)) return at;
    if (at < 0) at += size;
    return std::clamp(at, low, high);
  };
  Int at = limit(begin, by > 0 ? low : high);
  const Int stop = limit(end, by > 0 ? high : low);
  if (object.is(Type::kText) && by == 1) {
    spend_bytes(object.bytes().size());
    return text(characters(object.bytes(), static_cast<int64_t>(at), static_cast<int64_t>(stop)),
                object.text().markup);
  }
  const std::vector<Value> all = items_of(object);
  std::vector<Value> chosen;
  for (; by > 0 ? at < stop : at > stop; at += by) {
    chosen.push_back(all[static_cast<size_t>(at)]);
    if (by > size || by < -size) break;
  }
  if (object.is(Type::kText)) {
    std::string out;
    for (const Value& character : chosen) out += character.bytes();
    return text(std::move(out), object.text().markup);
  }
  if (object.is(Type::kRange)) fail_unsupported("a slice of a range");
  return object.is(Type::kList) ? list(std::move(chosen)) : tuple(std::move(chosen));
}

void Runtime::set_attribute(const Value& space, const std::string& name, const Value& value) {
  if (!space.is(Type::kNamespace)) fail_runtime("cannot assign attribute on non-namespace object");
  if (name.starts_with("_")) {
    fail_as(Fault::kSecurity,
            "Chat templates cannot store underscore-prefixed attributes on a namespace, but got " +
                repr_text(name) + ". Please rename the attribute.");
  }
  auto& attributes = space.as<Namespace>().attributes;
  spend(static_cast<int64_t>(attributes.size()));
  for (auto& [known, content] : attributes) {
    if (known == name) {
      content = value;
      return;
    }
  }
  attributes.emplace_back(name, value);
}

Value Runtime::path(const Value& object, const Value& attribute, const Value* fallback) {
  std::vector<Value> parts;
  if (attribute.is(Type::kText)) {
    for (const std::string_view part : split_at(attribute.bytes(), ".", -1, false)) {
      Int number = 0;
      const bool digits =
          !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
      parts.push_back(digits && parse_whole(part, 10, number) ? Value(number) : text(part));
    }
  } else if (!attribute.is(Type::kNone)) {
    parts.push_back(attribute);
  }
  Value out = object;
  for (const Value& part : parts) {
    out = item(out, part);
    if (fallback != nullptr && !fallback->is(Type::kNone) && out.is(Type::kUndefined)) {
      out = *fallback;
    }
  }
  return out;
}

Value Runtime::call(const Value& function, Arguments& arguments) {
  const Deeper deeper(*this);
  spend(1);
  switch (function.type()) {
    case Type::kUndefined:
      fail_undefined(function);
    case Type::kFunction: {
      const Value kept = function;  // the call may replace the variable that holds it
      return kept.as<Function>().body(*this, arguments);
    }
    case Type::kMacro:
      return call_macro(function, arguments);
    case Type::kLoop:
      return call_loop(function, arguments);
    case Type::kJoiner: {
      auto& joiner = function.as<Joiner>();
      if (std::exchange(joiner.used, true)) return joiner.between;
      return text("");
    }
    default:
      fail_runtime(std::string("'") + type_name(function) + "' object is not callable");
  }
}

// --- arguments of built-in functions ---

std::vector<const Value*> bound(const Arguments& arguments, const char* function,
                                std::initializer_list<const char*> parameters, size_t required) {
  std::vector<const Value*> out(parameters.size(), nullptr);
  if (arguments.positional.size() > parameters.size()) {
    fail_runtime(std::string(function) + "() takes at most " + std::to_string(parameters.size()) +
                 " arguments (" + std::to_string(arguments.positional.size()) + " given)");
  }
  for (size_t i = 0; i < arguments.positional.size(); ++i) out[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at = std::find_if(parameters.begin(), parameters.end(),
                                 [&name = name](const char* known) { return name == known; });
    if (at == parameters.end()) {
      fail_runtime(std::string(function) + "() got an unexpected keyword argument " +
                   repr_text(name));
    }
    const Value*& place = out[static_cast<size_t>(at - parameters.begin())];
    if (place != nullptr) {
      fail_runtime(std::string(function) + "() got multiple values for argument " +
                   repr_text(name));
    }
    place = &value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (out[i] == nullptr) {
      fail_runtime(std::string(function) +
                   "() missing a required argument: " + repr_text(parameters.begin()[i]));
    }
  }
  return out;
}

int64_t whole_argument(Runtime& runtime, const Value& value, const char* function) {
  if (!value.is_whole()) {
    if (value.is(Type::kUndefined)) runtime.attribute(value, "int");  // throws what it says
    fail_runtime(std::string(function) + ": '" + type_name(value) +
                 "' object cannot be interpreted as an integer");
  }
  return static_cast<int64_t>(std::clamp<Int>(value.whole(), INT64_MIN, INT64_MAX));
}

const std::string& text_argument(const Value& value, const char* function) {
  if (!value.is(Type::kText)) {
    fail_runtime(std::string(function) + "() argument must be str, not " + type_name(value));
  }
  return value.bytes();
}

}  // namespace zeroth::jinja
