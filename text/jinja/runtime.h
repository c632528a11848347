// What expressions do to values: Python's operators, iteration, printing and lookups, under the
// sandbox of Jinja and within the budgets of a rendering. Failures are thrown as Failure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/limits.h"
#include "text/jinja/objects.h"

namespace zeroth::jinja {

class Runtime {
 public:
  explicit Runtime(const Limits& limits);
  virtual ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // --- budgets ---
  void spend(int64_t steps);
  // For work that grows with a text.
  void spend_bytes(size_t bytes) { spend(static_cast<int64_t>(bytes >> 4)); }
  Memory* memory() { return &memory_; }
  // The longest text that may still be made.
  size_t text_room() const { return memory_.limit - memory_.used; }
  // Levels of evaluation inside each other.
  class Deeper {
   public:
    explicit Deeper(Runtime& runtime);
    ~Deeper() { --runtime_.depth_; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Runtime& runtime_;
  };

  // --- making values ---
  Value text(std::string bytes, bool markup = false);
  Value text(std::string_view bytes, bool markup = false) {
    return text(std::string(bytes), markup);
  }
  Value text(const char* bytes, bool markup = false) { return text(std::string(bytes), markup); }
  Value list(std::vector<Value> items);
  Value tuple(std::vector<Value> items);
  Value dict(std::vector<std::pair<Value, Value>> items);
  Value range(int64_t start, int64_t stop, int64_t step);
  Value iterator(Iterator::Next next);
  Value function(std::string name, Function::Body body);
  Value undefined(std::string message, bool security = false);
  Value undefined_name(const std::string& name);
  // Kept to the end of the rendering: namespaces may hold themselves.
  Value new_namespace(std::vector<std::pair<std::string, Value>> attributes);

  // --- Python's protocols ---
  bool truth(const Value& value);
  std::string str(const Value& value);
  std::string repr(const Value& value);
  bool equal(const Value& a, const Value& b);
  bool less(const Value& a, const Value& b);
  bool contains(const Value& container, const Value& item);
  int64_t length(const Value& value);
  bool has_length(const Value& value) const;
  bool is_iterable(const Value& value) const;
  // The items one by one; the value must outlive the walk.
  Iterator::Next iterate(const Value& value);
  std::vector<Value> items_of(const Value& value);  // list(value)
  bool same(const Value& a, const Value& b) const;  // `is`

  // --- operators ---
  Value binary(const std::string& op, const Value& a, const Value& b);
  Value negated(const Value& a);
  bool compare(const std::string& op, const Value& a, const Value& b);

  // --- lookups ---
  Value attribute(const Value& object, const std::string& name);  // object.name
  Value item(const Value& object, const Value& key);              // object[key]
  Value slice(const Value& object, const Value& begin, const Value& end, const Value& step);
  void set_attribute(const Value& space, const std::string& name, const Value& value);
  // "a.b.0" walked with item().
  Value path(const Value& object, const Value& attribute, const Value* fallback = nullptr);

  // --- calls ---
  Value call(const Value& function, Arguments& arguments);
  Value filter(const std::string& name, const Value& subject, Arguments& arguments);
  bool test(const std::string& name, const Value& subject, Arguments& arguments);

 protected:
  virtual Value call_macro(const Value& macro, Arguments& arguments) = 0;
  virtual Value call_loop(const Value& loop, Arguments& arguments) = 0;
  virtual Value loop_attribute(const Value& loop, const std::string& name) = 0;
  virtual Value macro_attribute(const Value& macro, const std::string& name) = 0;
  virtual std::string special_text(const Value& value) = 0;  // of loops and macros

  // Throws kUndefined or kSecurity for an undefined value.
  [[noreturn]] void fail_undefined(const Value& value) const;

  Limits limits_;

 private:
  friend class Deeper;
  bool equal_items(const std::vector<Value>& a, const std::vector<Value>& b);
  Value add(const Value& a, const Value& b);
  Value multiply(const Value& a, const Value& b);
  Value arithmetic(const std::string& op, const Value& a, const Value& b);
  Value whole_arithmetic(const std::string& op, Int a, Int b);
  Value repeat(const Value& sequence, Int count);
  Value missing_attribute(const Value& object, const std::string& name);
  const Value* found_item(const Value& object, const Value& key, Value& made);
  void repr_to(std::string& out, const Value& value);

  Memory memory_;
  int64_t steps_ = 0;
  int depth_ = 0;
  std::vector<std::shared_ptr<Object>> namespaces_;
};

}  // namespace zeroth::jinja
