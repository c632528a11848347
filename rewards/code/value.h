// Plain Python values as they cross the sandbox's border, compared outside it with Python's rules.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// Integers keep their decimal digits, so that 10**20 + 1 stays different from 1e20.
struct PyValue {
  enum class Kind {
    kNone,
    kBool,
    kInt,
    kFloat,
    kComplex,
    kString,
    kBytes,
    kList,
    kTuple,
    kSet,
    kDict,
    kOpaque
  };
  Kind kind = Kind::kNone;
  bool boolean = false;
  std::string text;            // kInt: decimal digits; kString: UTF-8; kBytes: hex
  double number = 0;           // kFloat, kComplex (real part)
  double imaginary = 0;        // kComplex
  std::vector<PyValue> items;  // kList, kTuple, kSet; kDict: key, value, key, value, ...
};

// Parses what the runner writes: JSON where an object with one key tags what JSON lacks ({"f":
// "1.5"} float,
// {"t": [..]} tuple, {"s": [..]} set, {"d": [[k, v], ..]} dict, {"b": "hex"} bytes, {"c": ["re",
// "im"]} complex). Plain JSON is accepted too (`plain`: objects are dicts, numbers with a point are
// floats): expected values of data sets. False on malformed or over-deep (100) input.
bool parse_value(std::string_view json, bool plain, PyValue& value);

struct CompareOptions {
  bool sequence_types = true;  // a list differs from a tuple; false for expected values from JSON,
                               // which has no tuples
  double float_tolerance = 0;  // absolute and relative; 0 = exact
};

// Python's ==: 1 == 1.0 == True, exact for integers of any size, NaN equals nothing, sets and dicts
// in any order.
bool equal(const PyValue& a, const PyValue& b, const CompareOptions& options);
// Python's bool(value).
bool truthy(const PyValue& value);
// |a - b| < tolerance for real numbers; false for anything else.
bool close(const PyValue& a, const PyValue& b, double tolerance);

}  // namespace zeroth
