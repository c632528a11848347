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
    kRatio,  // Fraction, Decimal
    kOpaque
  };
  Kind kind = Kind::kNone;
  bool boolean = false;
  std::string text;      // kInt: decimal digits; kRatio: "over/under"; kString: UTF-8; kBytes: hex
  double number = 0;     // kFloat, kComplex (real part)
  double imaginary = 0;  // kComplex
  std::vector<PyValue> items;  // kList, kTuple, kSet; kDict: key, value, key, value, ...
};

// Parses what wire.py writes: JSON where an object with one key tags what JSON lacks ({"f": "nan"}
// float, {"t": [..]} tuple, {"s": [..]} set, {"d": [[k, v], ..]} dict, {"b": "hex"} bytes,
// {"c": ["re", "im"]} complex, {"q": ["over", "under"]} an exact fraction). Plain JSON is accepted
// too (`plain`: objects are dicts): expected values of data sets. Numbers with a point are floats.
// False on malformed or over-deep (250) input.
bool parse_value(std::string_view json, bool plain, PyValue& value);

// Plain JSON of a value that came from plain JSON; integers keep their digits.
std::string json_text(const PyValue& value);

// JSON has no tuples, and its keys are texts; data sets that write values in it also round floats.
struct CompareOptions {
  bool from_json = false;      // expected values are JSON: lists equal tuples, key "1" equals key 1
  double float_tolerance = 0;  // of expected floats, absolute and relative; 0 = exact
};

// Python's value == expected: 1 == 1.0 == True, exact for integers and fractions of any size, NaN
// equals nothing, sets and dicts in any order. n log n in the members of a set or dict.
bool equal(const PyValue& value, const PyValue& expected, const CompareOptions& options);

}  // namespace zeroth
