// Python's == on plain values.
#include <gmp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "rewards/code/value.h"

namespace zeroth {
namespace {

using Kind = PyValue::Kind;

bool whole(const PyValue& v) { return v.kind == Kind::kBool || v.kind == Kind::kInt; }

bool real(const PyValue& v) { return whole(v) || v.kind == Kind::kFloat || v.kind == Kind::kRatio; }

bool numeric(const PyValue& v) { return real(v) || v.kind == Kind::kComplex; }

bool sequence(const PyValue& v) { return v.kind == Kind::kList || v.kind == Kind::kTuple; }

std::string digits(const PyValue& v) {
  return v.kind == Kind::kBool ? (v.boolean ? "1" : "0") : v.text;
}

// Canonical text of an exact fraction; empty when it is none.
std::string reduced(const std::string& text) {
  mpq_t q;
  mpq_init(q);
  std::string out;
  if (mpq_set_str(q, text.c_str(), 10) == 0 && mpz_sgn(mpq_denref(q)) != 0) {
    mpq_canonicalize(q);
    char* chars = mpq_get_str(nullptr, 10, q);
    out = chars;
    void (*release)(void*, size_t) = nullptr;
    mp_get_memory_functions(nullptr, nullptr, &release);
    release(chars, out.size() + 1);
  }
  mpq_clear(q);
  return out;
}

std::string exact(double x) {
  if (x == 0) return "0";
  if (std::abs(x) < 1e18 && std::floor(x) == x) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.0f", x);
    return text;
  }
  mpq_t q;
  mpq_init(q);
  mpq_set_d(q, x);
  char* chars = mpq_get_str(nullptr, 10, q);
  const std::string out = chars;
  void (*release)(void*, size_t) = nullptr;
  mp_get_memory_functions(nullptr, nullptr, &release);
  release(chars, out.size() + 1);
  mpq_clear(q);
  return out;
}

// Equal for equal real numbers, whatever their type; "nan" equals nothing.
std::string number_key(const PyValue& v) {
  if (whole(v)) return digits(v);
  if (v.kind == Kind::kRatio) return reduced(v.text);
  if (std::isnan(v.number)) return "nan";
  if (std::isinf(v.number)) return v.number > 0 ? "inf" : "-inf";
  return exact(v.number);
}

double approximate(const PyValue& v) {
  if (v.kind == Kind::kFloat || v.kind == Kind::kComplex) return v.number;
  if (v.kind == Kind::kRatio) {
    mpq_t q;
    mpq_init(q);
    const bool good = mpq_set_str(q, v.text.c_str(), 10) == 0 && mpz_sgn(mpq_denref(q)) != 0;
    const double x = good ? mpq_get_d(q) : std::nan("");
    mpq_clear(q);
    return x;
  }
  return std::strtod(digits(v).c_str(), nullptr);
}

bool equal_numbers(const PyValue& value, const PyValue& expected, double tolerance) {
  if (whole(value) && whole(expected)) return digits(value) == digits(expected);
  if (value.kind == Kind::kComplex || expected.kind == Kind::kComplex) {
    return approximate(value) == approximate(expected) && value.imaginary == expected.imaginary;
  }
  if (expected.kind == Kind::kFloat && (value.kind == Kind::kFloat || tolerance > 0)) {
    const double x = approximate(value), y = expected.number;
    if (x == y && value.kind == Kind::kFloat) return true;
    if (tolerance > 0 && std::isfinite(x) && std::isfinite(y))
      return std::abs(x - y) <= tolerance * std::max(1.0, std::abs(y));
    if (value.kind == Kind::kFloat) return false;
  }
  const std::string key = number_key(value);
  return !key.empty() && key != "nan" && key == number_key(expected);
}

// Text that is the same for values that are equal: what sets and keys of dicts are sorted by. Only
// values that Python can hash occur there.
std::string key_of(const PyValue& v, const CompareOptions& options) {
  if (v.kind == Kind::kComplex && v.imaginary != 0)
    return "c" + exact(v.number) + "," + exact(v.imaginary);
  if (v.kind == Kind::kComplex) return "n" + exact(v.number);
  if (numeric(v)) return "n" + number_key(v);
  const auto sized = [](char tag, const std::string& text) {
    return tag + std::to_string(text.size()) + ":" + text;
  };
  switch (v.kind) {
    case Kind::kNone:
      return "N";
    case Kind::kString:
      return sized('s', v.text);
    case Kind::kBytes:
      return sized('b', v.text);
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet: {
      std::vector<std::string> keys;
      for (const PyValue& item : v.items) keys.push_back(key_of(item, options));
      if (v.kind == Kind::kSet) std::sort(keys.begin(), keys.end());
      std::string all;
      for (const std::string& key : keys) all += sized('m', key);
      const bool tuple = v.kind == Kind::kTuple || options.from_json;
      return (v.kind == Kind::kSet ? 'S' : tuple ? 't' : 'l') + all;
    }
    default:
      return "?";
  }
}

bool comparable(const std::string& key) { return key != "nnan" && key != "n"; }

std::vector<std::string> sorted_keys(const PyValue& set, const CompareOptions& options) {
  std::vector<std::string> keys;
  for (const PyValue& item : set.items) keys.push_back(key_of(item, options));
  std::sort(keys.begin(), keys.end());
  return keys;
}

// The text that json.dumps gives a key.
PyValue text_key(const PyValue& key) {
  PyValue text;
  text.kind = Kind::kString;
  switch (key.kind) {
    case Kind::kNone:
      text.text = "null";
      return text;
    case Kind::kBool:
      text.text = key.boolean ? "true" : "false";
      return text;
    case Kind::kInt:
      text.text = key.text;
      return text;
    case Kind::kFloat: {
      // The shortest digits that read back as the same number, as Python writes them.
      char digits[40];
      for (int precision = 1; precision <= 17; ++precision) {
        std::snprintf(digits, sizeof(digits), "%.*g", precision, key.number);
        if (std::strtod(digits, nullptr) == key.number) break;
      }
      text.text = digits;
      if (text.text.find_first_of(".einf") == std::string::npos) text.text += ".0";
      return text;
    }
    default:
      return key;
  }
}

using Entry = std::pair<std::string, const PyValue*>;

std::vector<Entry> sorted_entries(const PyValue& dict, bool as_text,
                                  const CompareOptions& options) {
  std::vector<Entry> entries;
  for (size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PyValue& key = dict.items[i];
    entries.emplace_back(key_of(as_text ? text_key(key) : key, options), &dict.items[i + 1]);
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.first < b.first; });
  return entries;
}

bool equal_dicts(const PyValue& value, const PyValue& expected, const CompareOptions& options) {
  if (value.items.size() != expected.items.size()) return false;
  bool texts = options.from_json;
  for (size_t i = 0; texts && i < expected.items.size(); i += 2)
    texts = expected.items[i].kind == Kind::kString;
  const auto a = sorted_entries(value, texts, options),
             b = sorted_entries(expected, texts, options);
  return std::equal(a.begin(), a.end(), b.begin(), [&](const Entry& x, const Entry& y) {
    return comparable(x.first) && x.first == y.first && equal(*x.second, *y.second, options);
  });
}

}  // namespace

bool equal(const PyValue& value, const PyValue& expected, const CompareOptions& options) {
  if (numeric(value) && numeric(expected))
    return equal_numbers(value, expected, options.float_tolerance);
  if (sequence(value) && sequence(expected)) {
    if (!options.from_json && value.kind != expected.kind) return false;
    return value.items.size() == expected.items.size() &&
           std::equal(value.items.begin(), value.items.end(), expected.items.begin(),
                      [&](const PyValue& x, const PyValue& y) { return equal(x, y, options); });
  }
  if (value.kind != expected.kind) return false;
  switch (value.kind) {
    case Kind::kNone:
      return true;
    case Kind::kString:
    case Kind::kBytes:
      return value.text == expected.text;
    case Kind::kSet: {
      const auto a = sorted_keys(value, options), b = sorted_keys(expected, options);
      return a == b && std::all_of(a.begin(), a.end(), comparable);
    }
    case Kind::kDict:
      return equal_dicts(value, expected, options);
    default:
      return false;
  }
}

}  // namespace zeroth
