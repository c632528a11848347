// What values of more than one number are: texts, containers, functions.
#pragma once

#include <functional>
#include <string_view>
#include <unordered_map>

#include "text/jinja/value.h"

namespace zeroth::jinja {

class Runtime;

struct Text : Object {
  Text(Memory* memory, std::string text, bool safe);
  std::string bytes;  // valid UTF-8
  int64_t length;     // code points
  bool markup;        // Markup of markupsafe: marked as safe or escaped
};

struct Sequence : Object {  // list and tuple
  Sequence(Memory* memory, std::vector<Value> values);
  std::vector<Value> items;
  int depth;             // levels of containers, this one included
  bool grouped = false;  // a tuple of groupby, which also has .grouper and .list
};

// A dict; in the order of insertion.
struct Mapping : Object {
  Mapping(Memory* memory, std::vector<std::pair<Value, Value>> pairs);
  const Value* find(const Value& key) const;
  const Value* find(std::string_view text) const;
  std::vector<std::pair<Value, Value>> items;  // keys are distinct; of equal ones the last value
  int depth;

 private:
  std::unordered_map<std::string, size_t> index_;  // by hash_key
};

struct Range : Object {
  Range(Memory* memory, int64_t begin, int64_t end, int64_t by)
      : Object(memory, sizeof(Range)), start(begin), stop(end), step(by) {}
  int64_t size() const;
  int64_t start, stop, step;
};

struct View : Object {
  enum class Of { kKeys, kValues, kItems };
  View(Memory* memory, Value of_dict, Of what)
      : Object(memory, sizeof(View)), dict(std::move(of_dict)), of(what) {}
  Value dict;
  Of of;
};

struct Iterator : Object {
  using Next = std::function<bool(Value&)>;  // false: at its end
  Iterator(Memory* memory, Next step) : Object(memory, 128), next(std::move(step)) {}
  Next next;
};

struct Namespace : Object {
  explicit Namespace(Memory* memory) : Object(memory, sizeof(Namespace)) {}
  std::vector<std::pair<std::string, Value>> attributes;
  const Value* find(std::string_view name) const;
};

struct Function : Object {
  using Body = std::function<Value(Runtime&, Arguments&)>;
  Function(Memory* memory, std::string called, Body what)
      : Object(memory, 128), name(std::move(called)), body(std::move(what)) {}
  std::string name;
  Body body;
};

struct Cycler : Object {
  Cycler(Memory* memory, std::vector<Value> values)
      : Object(memory, sizeof(Cycler)), items(std::move(values)) {}
  std::vector<Value> items;
  size_t at = 0;
};

struct Joiner : Object {
  Joiner(Memory* memory, Value text) : Object(memory, sizeof(Joiner)), between(std::move(text)) {}
  Value between;
  bool used = false;
};

struct UndefinedObject : Object {
  UndefinedObject(Memory* memory, std::string text, bool unsafe)
      : Object(memory, sizeof(UndefinedObject) + text.size()),
        message(std::move(text)),
        security(unsafe) {}
  std::string message;
  bool security;  // using it is a security error
};

}  // namespace zeroth::jinja
