// Arithmetic and comparison.
#include <algorithm>
#include <cmath>

#include "text/jinja/builtins.h"
#include "text/jinja/error.h"
#include "text/jinja/python_text.h"
#include "text/jinja/runtime.h"

namespace zeroth::jinja {
namespace {

[[noreturn]] void fail_types(const std::string& op, const Value& a, const Value& b) {
  fail_runtime("unsupported operand type(s) for " + op + ": '" + type_name(a) + "' and '" +
               type_name(b) + "'");
}

[[noreturn]] void fail_overflow() { fail_as(Fault::kLimit, "an integer has more than 127 bits"); }

// Rounded towards minus infinity, as Python's // is.
Int floor_divided(Int a, Int b) {
  if (b == -1) {  // the one quotient that may not fit
    Int out = 0;
    if (__builtin_sub_overflow(Int{0}, a, &out)) fail_overflow();
    return out;
  }
  const Int quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

double floor_modulo(double a, double b) {
  double remainder = std::fmod(a, b);
  if (remainder != 0) {
    if ((b < 0) != (remainder < 0)) remainder += b;
  } else {
    remainder = std::copysign(0.0, b);
  }
  return remainder;
}

double floor_quotient(double a, double b) {
  const double quotient = (a - floor_modulo(a, b)) / b;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Int whole_power(Int base, Int exponent) {
  Int out = 1;
  for (; exponent > 0; exponent >>= 1) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(out, base, &out)) fail_overflow();
    if (exponent > 1 && __builtin_mul_overflow(base, base, &base)) fail_overflow();
  }
  return out;
}

double real_power(double base, double exponent) {
  if (base == 0 && exponent < 0) {
    fail_runtime("0.0 cannot be raised to a negative power");
  }
  if (base < 0 && exponent != std::floor(exponent) && std::isfinite(exponent)) {
    fail_unsupported("a complex number");
  }
  const double out = std::pow(base, exponent);
  if (std::isinf(out) && std::isfinite(base) && std::isfinite(exponent)) {
    fail_runtime("(34, 'Numerical result out of range')");
  }
  return out;
}

}  // namespace

Value Runtime::binary(const std::string& op, const Value& a, const Value& b) {
  spend(0);
  if (a.is(Type::kUndefined)) fail_undefined(a);
  if (op == "%" && a.is(Type::kText)) {
    const std::string out = percent_format(*this, a.bytes(), b);
    return text(out, a.text().markup);
  }
  if (b.is(Type::kUndefined)) fail_undefined(b);
  if (op == "+") return add(a, b);
  if (op == "*" && !(a.is_number() && b.is_number())) return multiply(a, b);
  return arithmetic(op, a, b);
}

Value Runtime::add(const Value& a, const Value& b) {
  if (a.is(Type::kText) && b.is(Type::kText)) {
    const bool markup = a.text().markup || b.text().markup;
    const auto part = [&](const Value& side) {
      return markup && !side.text().markup ? html_escaped(side.bytes()) : side.bytes();
    };
    if (a.bytes().size() + b.bytes().size() > text_room()) {
      fail_as(Fault::kLimit, "a text grows too long");
    }
    return text(part(a) + part(b), markup);
  }
  if (a.type() == b.type() && a.is_sequence()) {
    std::vector<Value> items = a.sequence().items;
    items.insert(items.end(), b.sequence().items.begin(), b.sequence().items.end());
    return a.is(Type::kList) ? list(std::move(items)) : tuple(std::move(items));
  }
  if (a.is_number() && b.is_number()) return arithmetic("+", a, b);
  if (a.is(Type::kText)) {
    fail_runtime(std::string("can only concatenate str (not \"") + type_name(b) + "\") to str");
  }
  fail_types("+", a, b);
}

Value Runtime::repeat(const Value& sequence, Int count) {
  count = std::max<Int>(count, 0);
  const Int room = static_cast<Int>(text_room());
  if (sequence.is(Type::kText)) {
    const std::string& once = sequence.bytes();
    if (count * static_cast<Int>(once.size()) > room && !once.empty()) {
      fail_as(Fault::kLimit, "a text grows too long");
    }
    const size_t size = once.empty() ? 0 : static_cast<size_t>(count) * once.size();
    spend_bytes(size);
    std::string out;
    out.reserve(size);
    // Each copy doubles what is there: a million short copies would take seconds.
    if (size > 0) out = once;
    while (out.size() < size) out.append(out, 0, std::min(out.size(), size - out.size()));
    return text(std::move(out), sequence.text().markup);
  }
  const std::vector<Value>& once = sequence.sequence().items;
  if (count > room || count * static_cast<Int>(once.size() * sizeof(Value)) > room) {
    fail_as(Fault::kLimit, "a list grows too long");
  }
  const size_t size = once.empty() ? 0 : static_cast<size_t>(count) * once.size();
  spend(static_cast<int64_t>(size / 4));
  std::vector<Value> out;
  out.reserve(size);
  while (out.size() < size) out.insert(out.end(), once.begin(), once.end());
  return sequence.is(Type::kList) ? list(std::move(out)) : tuple(std::move(out));
}

Value Runtime::multiply(const Value& a, const Value& b) {
  const auto repeatable = [](const Value& v) { return v.is(Type::kText) || v.is_sequence(); };
  if (repeatable(a) && b.is_whole()) return repeat(a, b.whole());
  if (repeatable(b) && a.is_whole()) return repeat(b, a.whole());
  if (repeatable(a) || repeatable(b)) {
    fail_runtime(std::string("can't multiply sequence by non-int of type '") +
                 type_name(repeatable(a) ? b : a) + "'");
  }
  fail_types("*", a, b);
}

Value Runtime::whole_arithmetic(const std::string& op, Int a, Int b) {
  Int out = 0;
  if (op == "+") {
    if (__builtin_add_overflow(a, b, &out)) fail_overflow();
  } else if (op == "-") {
    if (__builtin_sub_overflow(a, b, &out)) fail_overflow();
  } else if (op == "*") {
    if (__builtin_mul_overflow(a, b, &out)) fail_overflow();
  } else if (op == "**") {
    if (b < 0) return Value(real_power(static_cast<double>(a), static_cast<double>(b)));
    out = whole_power(a, b);
  } else {
    if (b == 0) {
      fail_runtime(op == "/" ? "division by zero" : "integer division or modulo by zero");
    }
    if (op == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
    const Int quotient = floor_divided(a, b);
    out = op == "//" ? quotient : a - quotient * b;
  }
  return Value(out);
}

Value Runtime::arithmetic(const std::string& op, const Value& a, const Value& b) {
  if (!a.is_number() || !b.is_number()) fail_types(op, a, b);
  if (a.is_whole() && b.is_whole()) return whole_arithmetic(op, a.whole(), b.whole());
  const double x = a.real();
  const double y = b.real();
  if (op == "+") return Value(x + y);
  if (op == "-") return Value(x - y);
  if (op == "*") return Value(x * y);
  if (op == "**") return Value(real_power(x, y));
  if (y == 0) fail_runtime(op == "%" ? "float modulo" : "float division by zero");
  if (op == "/") return Value(x / y);
  return Value(op == "//" ? floor_quotient(x, y) : floor_modulo(x, y));
}

Value Runtime::negated(const Value& a) {
  if (a.is(Type::kUndefined)) fail_undefined(a);
  Int out = 0;
  if (a.is_whole()) {
    if (__builtin_sub_overflow(Int{0}, a.whole(), &out)) fail_overflow();
    return Value(out);
  }
  if (a.is(Type::kFloat)) return Value(-a.real());
  fail_runtime(std::string("bad operand type for unary -: '") + type_name(a) + "'");
}

bool Runtime::compare(const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return equal(a, b);
  if (op == "!=") return !equal(a, b);
  if (op == "in") return contains(b, a);
  if (op == "not in") return !contains(b, a);
  if (op == "<") return less(a, b);
  if (op == ">") return less(b, a);
  const bool nan =
      (a.is(Type::kFloat) && std::isnan(a.real())) || (b.is(Type::kFloat) && std::isnan(b.real()));
  if (op == "<=") return less(a, b) || (!nan && equal(a, b));
  return less(b, a) || (!nan && equal(a, b));
}

}  // namespace zeroth::jinja
