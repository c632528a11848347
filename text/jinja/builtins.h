// What the interpreter has built in: methods, functions, filters, tests, and the ways to format.
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "text/jinja/runtime.h"

namespace zeroth::jinja {

// A method of a built-in type, bound to `object`; false when the type has none of that name. What
// changes its object is `unsafe`. Throws Failure kUnsupported for methods that are not read here.
bool find_method(Runtime& runtime, const Value& object, const std::string& name, Value& method,
                 bool& unsafe);

// The names that every template finds: range, dict, namespace, cycler, joiner, raise_exception and,
// with a time (strftime_now), the clock.
Value global_function(Runtime& runtime, const std::string& name);

// % of texts, and str.format.
std::string percent_format(Runtime& runtime, const std::string& format, const Value& arguments);
std::string brace_format(Runtime& runtime, const std::string& format, const Arguments& arguments);

// json.dumps as transformers' tojson calls it.
struct JsonStyle {
  bool ascii = false, sorted = false, indented = false;
  std::string indent, between = ", ", after_key = ": ";
};
std::string json_text(Runtime& runtime, const Value& value, const JsonStyle& style);

// Which filters and tests there are.
bool has_filter(const std::string& name);
bool has_test(const std::string& name);

// Arguments bound to the parameters of a built-in function: one value or null each. Throws Failure
// kRuntime for one too many or of another name, and when fewer than `required` are there.
std::vector<const Value*> bound(const Arguments& arguments, const char* function,
                                std::initializer_list<const char*> parameters, size_t required = 0);
// One as a whole number, a truth, a text; Failure kRuntime for another type.
int64_t whole_argument(Runtime& runtime, const Value& value, const char* function);
const std::string& text_argument(const Value& value, const char* function);

}  // namespace zeroth::jinja
