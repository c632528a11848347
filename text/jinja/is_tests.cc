// What stands behind "is" (jinja2/tests.py).
#include <unordered_map>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

using Test = bool (*)(Runtime&, const Value& subject, const Arguments& arguments);

const Value& other(const Arguments& arguments, const char* test) {
  return *bound(arguments, test, {"other"}, 1)[0];
}

template <Type kType>
bool has_type(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "is", {});
  return subject.is(kType);
}

template <bool kWanted>
bool is_boolean_value(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "is", {});
  return subject.is(Type::kBool) && subject.boolean() == kWanted;
}

bool defined(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "defined", {});
  return !subject.is(Type::kUndefined);
}

bool number(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "number", {});
  return subject.is_number();
}

bool iterable(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "iterable", {});
  return runtime.is_iterable(subject);
}

bool sequence(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "sequence", {});
  return subject.is(Type::kText) || subject.is_sequence() || subject.is(Type::kDict) ||
         subject.is(Type::kRange) || subject.is(Type::kUndefined);
}

bool callable(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "callable", {});
  return subject.is(Type::kFunction) || subject.is(Type::kMacro) || subject.is(Type::kLoop) ||
         subject.is(Type::kJoiner) || subject.is(Type::kUndefined);
}

template <bool kUpper>
bool in_case(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "is", {});
  Value method;
  bool unsafe = false;
  Arguments none;
  find_method(runtime, runtime.text(runtime.str(subject)), kUpper ? "isupper" : "islower", method,
              unsafe);
  return runtime.truth(runtime.call(method, none));
}

bool divisible(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  const Value rest = runtime.binary("%", subject, *bound(arguments, "divisibleby", {"num"}, 1)[0]);
  return runtime.equal(rest, Value::integer(0));
}

template <int kRest>
bool parity(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  bound(arguments, "odd", {});
  return runtime.equal(runtime.binary("%", subject, Value::integer(2)), Value::integer(kRest));
}

bool same_as(Runtime& runtime, const Value& subject, const Arguments& arguments) {
  return runtime.same(subject, other(arguments, "sameas"));
}

bool equal(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare("==", a, other(b, "eq"));
}
bool unequal(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare("!=", a, other(b, "ne"));
}
bool greater(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare(">", a, other(b, "gt"));
}
bool at_least(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare(">=", a, other(b, "ge"));
}
bool less(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare("<", a, other(b, "lt"));
}
bool at_most(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare("<=", a, other(b, "le"));
}
bool within(Runtime& runtime, const Value& a, const Arguments& b) {
  return runtime.compare("in", a, *bound(b, "in", {"seq"}, 1)[0]);
}

bool named_filter(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "filter", {});
  return subject.is(Type::kText) && has_filter(subject.bytes());
}
bool named_test(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "test", {});
  return subject.is(Type::kText) && has_test(subject.bytes());
}

bool escaped(Runtime&, const Value& subject, const Arguments& arguments) {
  bound(arguments, "escaped", {});
  return subject.is(Type::kText) && subject.text().markup;
}

const std::unordered_map<std::string, Test>& tests() {
  static const std::unordered_map<std::string, Test> table = {
      {"defined", defined},
      {"undefined", has_type<Type::kUndefined>},
      {"none", has_type<Type::kNone>},
      {"boolean", has_type<Type::kBool>},
      {"true", is_boolean_value<true>},
      {"false", is_boolean_value<false>},
      {"integer", has_type<Type::kInt>},
      {"float", has_type<Type::kFloat>},
      {"number", number},
      {"string", has_type<Type::kText>},
      {"mapping", has_type<Type::kDict>},
      {"sequence", sequence},
      {"iterable", iterable},
      {"callable", callable},
      {"upper", in_case<true>},
      {"lower", in_case<false>},
      {"odd", parity<1>},
      {"even", parity<0>},
      {"divisibleby", divisible},
      {"sameas", same_as},
      {"in", within},
      {"filter", named_filter},
      {"test", named_test},
      {"escaped", escaped},
      {"eq", equal},
      {"==", equal},
      {"equalto", equal},
      {"ne", unequal},
      {"!=", unequal},
      {"gt", greater},
      {">", greater},
      {"greaterthan", greater},
      {"ge", at_least},
      {">=", at_least},
      {"lt", less},
      {"<", less},
      {"lessthan", less},
      {"le", at_most},
      {"<=", at_most},
  };
  return table;
}

}  // namespace

bool has_test(const std::string& name) { return tests().contains(name); }

bool Runtime::test(const std::string& name, const Value& subject, Arguments& arguments) {
  const Deeper deeper(*this);
  spend(1);
  const auto at = tests().find(name);
  if (at == tests().end()) fail_runtime("No test named " + repr_text(name) + " found.");
  return at->second(*this, subject, arguments);
}

}  // namespace zeroth::jinja
