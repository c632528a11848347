#include "kernels/check/check.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>

#include "kernels/check/outputs.h"

namespace zeroth::kernels {

namespace {

int64_t aligned(int64_t floats) { return (floats + 15) / 16 * 16; }  // to cache lines

// Floats in ascending order as consecutive integers.
int64_t place_of(float x) {
  const auto bits = std::bit_cast<int32_t>(x);
  return bits >= 0 ? bits : int64_t{std::numeric_limits<int32_t>::min()} - bits;
}

int64_t ulps_between(float a, float b) {
  if (!std::isfinite(a) || !std::isfinite(b)) return -1;
  return std::abs(place_of(a) - place_of(b));
}

bool equal(float a, float b, const CheckBounds& bounds, double largest) {
  if (std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b)) return true;
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (!std::isfinite(a) || !std::isfinite(b)) return false;
  return ulps_between(a, b) <= bounds.ulps || std::abs(double{a} - b) <= bounds.share * largest;
}

template <class T>
T value_at(const std::string& values, size_t i) {
  T value;
  std::memcpy(&value, values.data() + i * sizeof(T), sizeof(T));
  return value;
}

double largest_of(const std::string& values) {
  double largest = 0;
  for (size_t i = 0; i < values.size() / sizeof(float); ++i) {
    const double size = std::abs(value_at<float>(values, i));
    if (std::isfinite(size)) largest = std::max(largest, size);
  }
  return largest;
}

// The first element in which the same output of both differs.
template <class T>
std::optional<Difference> compare_values(const Output& output, const std::string& first,
                                         const std::string& second, const CheckBounds& bounds,
                                         double largest) {
  const size_t n = first.size() / sizeof(T), m = second.size() / sizeof(T);
  Difference d;
  d.array = output.name;
  d.width = output.width > 0 ? output.width : static_cast<int64_t>(n);
  d.rows = d.width > 0 ? static_cast<int64_t>(n) / d.width : 0;
  for (size_t i = 0; i < std::min(n, m); ++i) {
    const T a = value_at<T>(first, i), b = value_at<T>(second, i);
    bool same = a == b;
    d.ulps = -1;
    if constexpr (std::is_same_v<T, float>) {
      same = equal(a, b, bounds, largest);
      d.ulps = ulps_between(a, b);
    }
    if (same) continue;
    d.row = static_cast<int64_t>(i) / d.width;
    d.column = static_cast<int64_t>(i) % d.width;
    d.first = static_cast<double>(a);
    d.second = static_cast<double>(b);
    return d;
  }
  if (n == m) return {};
  d.array = "length of " + d.array;
  d.rows = d.width = 1;
  d.first = static_cast<double>(n);
  d.second = static_cast<double>(m);
  d.ulps = -1;
  return d;
}

std::optional<Difference> compare_outputs(const Outputs& outputs,
                                          const std::vector<std::string>& first,
                                          const std::vector<std::string>& second,
                                          const CheckBounds& bounds) {
  for (size_t i = 0; i < outputs.size(); ++i) {
    std::optional<Difference> found;
    switch (outputs[i].type) {
      case Output::Type::kFloat:
        found =
            compare_values<float>(outputs[i], first[i], second[i], bounds, largest_of(first[i]));
        break;
      case Output::Type::kInt32:
        found = compare_values<int32_t>(outputs[i], first[i], second[i], bounds, 0);
        break;
      case Output::Type::kInt64:
        found = compare_values<int64_t>(outputs[i], first[i], second[i], bounds, 0);
        break;
    }
    if (found) return found;
  }
  return {};
}

std::optional<Difference> compare_numbers(double first, double second, const CheckBounds& bounds) {
  // Sums in double, in orders that back ends share when they keep the contract.
  const double share = std::max(bounds.share, static_cast<double>(bounds.ulps) * 0x1p-24);
  if (first == second || (std::isnan(first) && std::isnan(second))) return {};
  if (std::abs(first - second) <= share * std::abs(first)) return {};
  Difference d;
  d.array = "result";
  d.rows = d.width = 1;
  d.first = first;
  d.second = second;
  d.ulps = ulps_between(static_cast<float>(first), static_cast<float>(second));
  return d;
}

std::vector<std::string> take(const Outputs& outputs) {
  std::vector<std::string> values;
  for (const Output& output : outputs) values.push_back(output.take());
  return values;
}

// The second layout of a matrix lies behind the first.
PackedMatrix second_of(const PackedMatrix& w, const Operators& first) {
  PackedMatrix second;
  second.place(w.out(), w.in(), w.element(),
               w.memory() + aligned(first.packed_floats(w.out(), w.in(), w.element())));
  return second;
}

// Arguments for the second back end; they live as long as its call.
struct TheirMatrix {
  PackedMatrix matrix;
  operator PackedMatrix&() { return matrix; }
};
struct TheirMatrices {
  std::vector<PackedMatrix> matrices;
  std::vector<const PackedMatrix*> pointers;
  TheirMatrices(PackedMatrices weights, const Operators& first) {
    for (const PackedMatrix* w : weights) matrices.push_back(second_of(*w, first));
    for (const PackedMatrix& w : matrices) pointers.push_back(&w);
  }
  operator PackedMatrices() const { return pointers; }
};
struct TheirTable {
  EmbeddingTable table;
  PackedMatrix packed;
  TheirTable(const EmbeddingTable& of, const Operators& first) : table(of) {
    if (!of.packed) return;
    packed = second_of(*of.packed, first);
    table.packed = &packed;
  }
  operator const EmbeddingTable&() const { return table; }
};

namespace writes {

ZEROTH_HOST_WORDS
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter"
#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) \
  Outputs name parameters { return outputs_of writes; }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR
#pragma GCC diagnostic pop

}  // namespace writes

class SideBySide final : public CheckedOperators {
  // The argument as the second back end takes it.
  template <class T>
  decltype(auto) theirs(T& argument) const {
    using Value = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Value, PackedMatrix>) {
      return TheirMatrix{second_of(argument, first_)};
    } else if constexpr (std::is_same_v<Value, PackedMatrices>) {
      return TheirMatrices(argument, first_);
    } else if constexpr (std::is_same_v<Value, EmbeddingTable>) {
      return TheirTable(argument, first_);
    } else {
      return (argument);
    }
  }

  template <class Result, class First, class Second, class Writes>
  Result compare(const char* op, const First& first, const Second& second,
                 const Writes& writes) const {
    // A matrix takes the memory of both layouts, and is packed in both.
    if constexpr (std::is_same_v<Result, int64_t>) {
      return aligned(first()) + second();
    } else {
      std::lock_guard lock(mutex_);
      if (difference_) return first();
      ++all_calls_;
      ++calls_[op];
      if constexpr (std::is_same_v<Result, double>) {
        const double b = second(), a = first();
        report(op, compare_numbers(a, b, bounds_));
        return a;
      } else {
        const Outputs outputs = writes();
        const std::vector<std::string> before = take(outputs);
        second();
        const std::vector<std::string> after = take(outputs);
        for (size_t i = 0; i < outputs.size(); ++i) outputs[i].give(before[i]);
        first();
        report(op, compare_outputs(outputs, take(outputs), after, bounds_));
      }
    }
  }

 public:
  SideBySide(const Operators& first, const Operators& second, const CheckBounds& bounds)
      : first_(first), second_(second), bounds_(bounds) {}

  std::string name() const override { return first_.name() + " and " + second_.name(); }
  std::optional<Difference> difference() const override {
    std::lock_guard lock(mutex_);
    return difference_;
  }
  std::map<std::string, int64_t> calls() const override {
    std::lock_guard lock(mutex_);
    return calls_;
  }

#define ZEROTH_OPERATOR(result, name, parameters, arguments, written)                     \
  result name parameters const override {                                                 \
    const auto mine = [&](auto&&... a) -> result { return first_.name(a...); };           \
    const auto other = [&](auto&&... a) -> result { return second_.name(theirs(a)...); }; \
    const auto outputs = [&](auto&&... a) { return writes::name(on_host(a)...); };        \
    return compare<result>(                                                               \
        #name, [&] { return mine arguments; }, [&] { return other arguments; },           \
        [&] { return outputs arguments; });                                               \
  }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR

 private:
  void report(const char* op, std::optional<Difference> difference) const {
    if (!difference) return;
    difference->op = op;
    difference->call = all_calls_;
    difference_ = std::move(difference);
  }

  const Operators& first_;
  const Operators& second_;
  const CheckBounds bounds_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, int64_t> calls_;
  mutable int64_t all_calls_ = 0;
  mutable std::optional<Difference> difference_;
};

}  // namespace

std::string Difference::text(const std::string& first_name, const std::string& second_name) const {
  const auto number = [](double x) {
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, "%.9g", x);
    return std::string(buffer);
  };
  const auto pair = [](int64_t a, int64_t b) {
    return "[" + std::to_string(a) + ", " + std::to_string(b) + "]";
  };
  return op + ", call " + std::to_string(call) + ": " + array + pair(row, column) + " of " +
         pair(rows, width) + " is " + number(first) + " (" + first_name + ") and " +
         number(second) + " (" + second_name + ")" +
         (ulps >= 0 ? ", " + std::to_string(ulps) + " ulps" : "");
}

std::unique_ptr<CheckedOperators> CheckedOperators::make(const Operators& first,
                                                         const Operators& second,
                                                         const CheckBounds& bounds) {
  return std::make_unique<SideBySide>(first, second, bounds);
}

}  // namespace zeroth::kernels
