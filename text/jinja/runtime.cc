#include "text/jinja/runtime.h"
#include "text/jinja/builtins.h"

#include <algorithm>
#include <cmath>

#include "text/jinja/error.h"
#include "text/jinja/python_text.h"

namespace zeroth::jinja {

Runtime::Runtime(const Limits& limits) : limits_(limits) { memory_.limit = limits.memory_bytes; }

Runtime::~Runtime() {
  // Namespaces may hold each other in a ring: their contents go first.
  std::vector<std::pair<std::string, Value>> contents;
  for (const auto& object : namespaces_) {
    auto& attributes = static_cast<Namespace&>(*object).attributes;
    std::move(attributes.begin(), attributes.end(), std::back_inserter(contents));
    attributes.clear();
  }
}

Runtime::Deeper::Deeper(Runtime& runtime) : runtime_(runtime) {
  if (runtime.depth_ >= runtime.limits_.depth) {
    fail_as(Fault::kRecursion, "maximum recursion depth exceeded");
  }
  ++runtime.depth_;
}

void Runtime::spend(int64_t steps) {
  steps_ += steps + 1;
  if (steps_ > limits_.steps) {
    fail_as(Fault::kLimit, "it takes more than " + std::to_string(limits_.steps) + " steps");
  }
}

void Runtime::fail_undefined(const Value& value) const {
  const auto& info = value.as<UndefinedObject>();
  fail_as(info.security ? Fault::kSecurity : Fault::kUndefined, info.message);
}

// --- making values ---

Value Runtime::text(std::string bytes, bool markup) {
  spend_bytes(bytes.size());
  return {Type::kText, std::make_shared<Text>(&memory_, std::move(bytes), markup)};
}
Value Runtime::list(std::vector<Value> items) {
  spend(static_cast<int64_t>(items.size() / 4));
  return {Type::kList, std::make_shared<Sequence>(&memory_, std::move(items))};
}
Value Runtime::tuple(std::vector<Value> items) {
  spend(static_cast<int64_t>(items.size() / 4));
  return {Type::kTuple, std::make_shared<Sequence>(&memory_, std::move(items))};
}
Value Runtime::dict(std::vector<std::pair<Value, Value>> items) {
  spend(static_cast<int64_t>(items.size()));
  return {Type::kDict, std::make_shared<Mapping>(&memory_, std::move(items))};
}
Value Runtime::range(int64_t start, int64_t stop, int64_t step) {
  return {Type::kRange, std::make_shared<Range>(&memory_, start, stop, step)};
}
Value Runtime::iterator(Iterator::Next next) {
  return {Type::kIterator, std::make_shared<Iterator>(&memory_, std::move(next))};
}
Value Runtime::function(std::string name, Function::Body body) {
  return {Type::kFunction, std::make_shared<Function>(&memory_, std::move(name), std::move(body))};
}
Value Runtime::undefined(std::string message, bool security) {
  return {Type::kUndefined,
          std::make_shared<UndefinedObject>(&memory_, std::move(message), security)};
}
Value Runtime::undefined_name(const std::string& name) {
  return undefined(repr_text(name) + " is undefined");
}
Value Runtime::new_namespace(std::vector<std::pair<std::string, Value>> attributes) {
  auto made = std::make_shared<Namespace>(&memory_);
  const Value value(Type::kNamespace, made);
  namespaces_.push_back(std::move(made));
  for (const auto& [name, content] : attributes) set_attribute(value, name, content);
  return value;
}

// --- protocols ---

bool Runtime::truth(const Value& value) {
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
    case Type::kNone:
      return false;
    case Type::kBool:
      return value.boolean();
    case Type::kInt:
      return value.whole() != 0;
    case Type::kFloat:
      return value.real() != 0;
    case Type::kText:
      return !value.bytes().empty();
    default:
      return !has_length(value) || length(value) > 0;
  }
}

bool Runtime::has_length(const Value& value) const {
  switch (value.type()) {
    case Type::kUndefined:
    case Type::kText:
    case Type::kList:
    case Type::kTuple:
    case Type::kDict:
    case Type::kRange:
    case Type::kView:
    case Type::kLoop:
      return true;
    default:
      return false;
  }
}

int64_t Runtime::length(const Value& value) {
  switch (value.type()) {
    case Type::kUndefined:
      return 0;
    case Type::kText:
      return value.text().length;
    case Type::kList:
    case Type::kTuple:
      return static_cast<int64_t>(value.sequence().items.size());
    case Type::kDict:
      return static_cast<int64_t>(value.mapping().items.size());
    case Type::kView:
      return length(value.as<View>().dict);
    case Type::kRange:
      return value.as<Range>().size();
    case Type::kLoop:
      return static_cast<int64_t>(loop_attribute(value, "length").whole());
    default:
      fail_runtime(std::string("object of type '") + type_name(value) + "' has no len()");
  }
}

bool Runtime::is_iterable(const Value& value) const {
  return has_length(value) || value.is(Type::kIterator);
}

namespace {

// Items of a container by number.
template <class At>
Iterator::Next counted(size_t count, At at) {
  return [i = size_t{0}, count, at = std::move(at)](Value& out) mutable {
    if (i >= count) return false;
    out = at(i++);
    return true;
  };
}

}  // namespace

Iterator::Next Runtime::iterate(const Value& value) {
  spend(0);
  switch (value.type()) {
    case Type::kUndefined:
      return [](Value&) { return false; };
    case Type::kText:
      return [this, value, at = size_t{0}](Value& out) mutable {
        const std::string_view rest = std::string_view(value.bytes()).substr(at);
        if (rest.empty()) return false;
        const auto size = static_cast<size_t>(first_character(rest).bytes);
        out = text(rest.substr(0, size), value.text().markup);
        at += size;
        return true;
      };
    case Type::kList:
    case Type::kTuple:
      return counted(value.sequence().items.size(),
                     [value](size_t i) { return value.sequence().items[i]; });
    case Type::kDict:
      return counted(value.mapping().items.size(),
                     [value](size_t i) { return value.mapping().items[i].first; });
    case Type::kRange: {
      const auto& range = value.as<Range>();
      return counted(static_cast<size_t>(range.size()),
                     [start = range.start, step = range.step](size_t i) {
                       return Value::integer(start + static_cast<int64_t>(i) * step);
                     });
    }
    case Type::kView:
      return counted(static_cast<size_t>(length(value)), [this, value](size_t i) {
        const auto& [key, content] = value.as<View>().dict.mapping().items[i];
        switch (value.as<View>().of) {
          case View::Of::kKeys:
            return key;
          case View::Of::kValues:
            return content;
          case View::Of::kItems:
            return tuple({key, content});
        }
        return Value();
      });
    case Type::kIterator:
      return [value](Value& out) { return value.as<Iterator>().next(out); };
    default:
      fail_runtime(std::string("'") + type_name(value) + "' object is not iterable");
  }
}

std::vector<Value> Runtime::items_of(const Value& value) {
  if (value.is_sequence()) return value.sequence().items;
  std::vector<Value> out;
  const Iterator::Next next = iterate(value);
  for (Value item; next(item);) {
    spend(0);
    out.push_back(item);
    if (out.size() * sizeof(Value) > text_room()) fail_as(Fault::kLimit, "a list grows too long");
  }
  return out;
}

bool Runtime::same(const Value& a, const Value& b) const {
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kNone:
      return true;
    case Type::kBool:
    case Type::kInt:
      return a.whole() == b.whole();
    case Type::kText:  // equal literals are one object
      return a.object() == b.object() || a.bytes() == b.bytes();
    case Type::kFloat:
      return a.real() == b.real();
    default:
      return a.object() == b.object();
  }
}

bool Runtime::equal_items(const std::vector<Value>& a, const std::vector<Value>& b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!equal(a[i], b[i])) return false;
  }
  return true;
}

bool Runtime::equal(const Value& a, const Value& b) {
  spend(0);
  if (a.is_number() && b.is_number()) {
    return a.is_whole() && b.is_whole() ? a.whole() == b.whole() : a.real() == b.real();
  }
  if (a.type() != b.type()) return false;
  switch (a.type()) {
    case Type::kUndefined:
    case Type::kNone:
      return true;
    case Type::kText:
      spend_bytes(std::min(a.bytes().size(), b.bytes().size()));
      return a.bytes() == b.bytes();
    case Type::kList:
    case Type::kTuple:
      return a.object() == b.object() || equal_items(a.sequence().items, b.sequence().items);
    case Type::kDict: {
      const auto& items = a.mapping().items;
      if (items.size() != b.mapping().items.size()) return false;
      return std::all_of(items.begin(), items.end(), [&](const auto& pair) {
        const Value* other = b.mapping().find(pair.first);
        return other != nullptr && equal(pair.second, *other);
      });
    }
    case Type::kRange:
      return equal_items(items_of(a), items_of(b));
    case Type::kView:
      if (a.as<View>().of == View::Of::kValues) return a.object() == b.object();
      fail_unsupported("comparing the keys or items of dicts");
    default:
      return a.object() == b.object();
  }
}

bool Runtime::less(const Value& a, const Value& b) {
  spend(0);
  if (a.is(Type::kUndefined)) fail_undefined(a);
  if (b.is(Type::kUndefined)) fail_undefined(b);
  if (a.is_number() && b.is_number()) {
    return a.is_whole() && b.is_whole() ? a.whole() < b.whole() : a.real() < b.real();
  }
  if (a.is(Type::kText) && b.is(Type::kText)) {
    spend_bytes(std::min(a.bytes().size(), b.bytes().size()));
    return a.bytes() < b.bytes();  // UTF-8 sorts as code points do
  }
  if (a.type() == b.type() && a.is_sequence()) {
    const auto& left = a.sequence().items;
    const auto& right = b.sequence().items;
    for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(left[i], right[i])) return less(left[i], right[i]);
    }
    return left.size() < right.size();
  }
  fail_runtime(std::string("'<' not supported between instances of '") + type_name(a) + "' and '" +
               type_name(b) + "'");
}

bool Runtime::contains(const Value& container, const Value& item) {
  spend(0);
  switch (container.type()) {
    case Type::kText:
      if (!item.is(Type::kText)) {
        fail_runtime(std::string("'in <string>' requires string as left operand, not ") +
                     type_name(item));
      }
      spend_bytes(container.bytes().size());
      return container.bytes().find(item.bytes()) != std::string::npos;
    case Type::kDict:
      return container.mapping().find(item) != nullptr;
    case Type::kView:
      if (container.as<View>().of == View::Of::kKeys) {
        return contains(container.as<View>().dict, item);
      }
      break;
    default:
      if (!is_iterable(container)) {
        fail_runtime(std::string("argument of type '") + type_name(container) +
                     "' is not iterable");
      }
  }
  const Iterator::Next next = iterate(container);
  for (Value each; next(each);) {
    if (equal(each, item)) return true;
  }
  return false;
}

// --- printing ---

std::string Runtime::str(const Value& value) {
  if (value.is(Type::kText)) return value.bytes();
  if (value.is(Type::kUndefined) || value.is(Type::kMissing)) return "";
  return repr(value);
}

std::string Runtime::repr(const Value& value) {
  std::string out;
  repr_to(out, value);
  return out;
}

void Runtime::repr_to(std::string& out, const Value& value) {
  const Deeper deeper(*this);
  spend(0);
  if (out.size() > text_room()) fail_as(Fault::kLimit, "a text grows too long");
  const auto listed = [&](const std::vector<Value>& items, char open, char close) {
    out += open;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out += ", ";
      repr_to(out, items[i]);
    }
    if (open == '(' && items.size() == 1) out += ',';
    out += close;
  };
  switch (value.type()) {
    case Type::kMissing:
    case Type::kUndefined:
      out += "Undefined";
      return;
    case Type::kNone:
      out += "None";
      return;
    case Type::kBool:
      out += value.boolean() ? "True" : "False";
      return;
    case Type::kInt:
      out += whole_text(value.whole());
      return;
    case Type::kFloat:
      out += real_text(value.real());
      return;
    case Type::kText:
      spend_bytes(value.bytes().size());
      out += value.text().markup ? "Markup(" + repr_text(value.bytes()) + ")"
                                 : repr_text(value.bytes());
      return;
    case Type::kList:
      return listed(value.sequence().items, '[', ']');
    case Type::kTuple:
      return listed(value.sequence().items, '(', ')');
    case Type::kDict:
    case Type::kNamespace: {
      std::vector<std::pair<Value, Value>> own;
      if (value.is(Type::kNamespace)) {
        for (const auto& [name, content] : value.as<Namespace>().attributes) {
          own.emplace_back(text(name), content);
        }
        out += "<Namespace ";
      }
      out += '{';
      bool first = true;
      for (const auto& [key, content] : value.is(Type::kDict) ? value.mapping().items : own) {
        if (!first) out += ", ";
        first = false;
        repr_to(out, key);
        out += ": ";
        repr_to(out, content);
      }
      out += value.is(Type::kDict) ? "}" : "}>";
      return;
    }
    case Type::kRange: {
      const auto& range = value.as<Range>();
      out += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop) +
             (range.step == 1 ? "" : ", " + std::to_string(range.step)) + ")";
      return;
    }
    case Type::kView:
      out += type_name(value) + std::string("(");
      listed(items_of(value), '[', ']');
      out += ')';
      return;
    case Type::kLoop:
    case Type::kMacro:
      out += special_text(value);
      return;
    default:
      fail_unsupported(std::string("printing a ") + type_name(value) +
                       ", whose text is a memory address");
  }
}

}  // namespace zeroth::jinja
