// Values of a template, with the types and the meaning that Python gives them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace zeroth::jinja {

// Python's integers have no bound; these end at 2^127, and what would pass it is an error.
__extension__ typedef __int128 Int;

enum class Type {
  kMissing,  // a variable that has not been set; never seen by a template
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      // dict.keys(), values(), items()
  kIterator,  // a generator: can be walked once
  kNamespace,
  kFunction,  // built in, or a bound method
  kMacro,
  kLoop,  // the variable `loop`
  kCycler,
  kJoiner,
};

// Counts the bytes that the values of one rendering hold at a time.
struct Memory {
  size_t used = 0;
  size_t limit = SIZE_MAX;
};
// One object's share of it.
class Charge {
 public:
  Charge() = default;
  Charge(Memory* memory, size_t bytes);  // throws Failure kLimit
  Charge(const Charge&) = delete;
  Charge& operator=(const Charge&) = delete;
  ~Charge();

 private:
  Memory* memory_ = nullptr;
  size_t bytes_ = 0;
};

struct Object {
  Object(Memory* memory, size_t bytes) : charge(memory, bytes) {}
  virtual ~Object() = default;
  Charge charge;
};

struct Text;
struct Sequence;
struct Mapping;

class Value {
 public:
  Value() = default;  // none
  explicit Value(bool b) : type_(Type::kBool) { scalar_.boolean = b; }
  explicit Value(Int i) : type_(Type::kInt) { scalar_.integer = i; }
  explicit Value(double d) : type_(Type::kFloat) { scalar_.real = d; }
  Value(Type type, std::shared_ptr<Object> object) : type_(type), object_(std::move(object)) {}
  static Value missing() { return {Type::kMissing, nullptr}; }
  static Value integer(int64_t i) { return Value(static_cast<Int>(i)); }

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool is_number() const { return is(Type::kBool) || is(Type::kInt) || is(Type::kFloat); }
  bool is_whole() const { return is(Type::kBool) || is(Type::kInt); }
  bool is_sequence() const { return is(Type::kList) || is(Type::kTuple); }

  bool boolean() const { return scalar_.boolean; }
  Int whole() const { return is(Type::kBool) ? Int{scalar_.boolean} : scalar_.integer; }
  double real() const {  // of any number
    return is(Type::kFloat) ? scalar_.real : static_cast<double>(whole());
  }
  // The type must fit.
  const Text& text() const;
  const std::string& bytes() const;  // of a text
  const Sequence& sequence() const;
  const Mapping& mapping() const;
  template <class T>
  T& as() const {
    return static_cast<T&>(*object_);
  }
  const Object* object() const { return object_.get(); }

 private:
  Type type_ = Type::kNone;
  union {
    bool boolean;
    Int integer = 0;
    double real;
  } scalar_;
  std::shared_ptr<Object> object_;
};

// Arguments of a call, filter or test.
struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// A text that is equal for keys that are equal in Python (1, 1.0 and True are). Throws Failure
// kRuntime for what cannot be a key.
std::string hash_key(const Value& value);

// Levels of containers: 0 for a scalar.
int depth_of(const Value& value);

// The name of the Python type: "str", "dict", ..
const char* type_name(const Value& value);

}  // namespace zeroth::jinja
