// What an operator writes, in the words of kernels/operator_list.inc, as bytes that can be taken
// and put back. Arrays must lie in memory that the host can follow.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels/host_calls.h"

namespace zeroth::kernels {

// An array [rows, width] of an operator's results.
struct Output {
  enum class Type { kFloat, kInt32, kInt64 };
  const char* name;
  Type type;
  int64_t width;                                 // 0: whatever a list holds
  std::function<std::string()> take;             // the values, row after row
  std::function<void(const std::string&)> give;  // back to their places
};
using Outputs = std::vector<Output>;

template <class T>
constexpr Output::Type type_of() {
  using Value = std::remove_const_t<T>;
  if constexpr (std::is_same_v<Value, float>) return Output::Type::kFloat;
  return sizeof(Value) == 4 ? Output::Type::kInt32 : Output::Type::kInt64;
}

template <class T>
int64_t size_of(const T& list) {
  return static_cast<int64_t>(list.size());
}
inline int64_t last_of(std::span<const int64_t> offsets) {
  return offsets.empty() ? 0 : offsets.back();
}
inline int64_t out_of(PackedMatrices w) { return w.empty() ? 0 : w[0]->out(); }
inline int64_t in_of(PackedMatrices w) { return w.empty() ? 0 : w[0]->in(); }

// Rows of `width` that begin at these places.
template <class T>
Output rows_at(const char* name, std::vector<T*> begins, int64_t width) {
  const size_t bytes = static_cast<size_t>(width) * sizeof(T);
  return {name, type_of<T>(), width,
          [begins, bytes] {
            std::string out;
            for (const T* row : begins) out.append(reinterpret_cast<const char*>(row), bytes);
            return out;
          },
          [begins, bytes](const std::string& values) {
            for (size_t i = 0; i < begins.size(); ++i)
              values.copy(reinterpret_cast<char*>(begins[i]), bytes, i * bytes);
          }};
}

// Rows `distance` (0: width) apart; none when there is no array.
template <class T>
Output rows_of(const char* name, T* at, int64_t rows, int64_t width, int64_t distance = 0) {
  std::vector<T*> begins;
  for (int64_t i = 0; at && i < rows; ++i)
    begins.push_back(at + i * (distance > 0 ? distance : width));
  return rows_at(name, std::move(begins), width);
}

// The rows with these numbers.
Output picked_rows(const char* name, float* at, std::span<const int32_t> rows, int64_t width,
                   int64_t distance = 0);
// Gradients of the weights of m rows.
Output weights_of(const char* name, const RowWeights& w, int64_t m);
// One matrix [out, in] a group.
Output groups_of(const char* name, std::span<float* const> dw, int64_t out, int64_t in);
// Whole pages.
Outputs pages_of(const KvPages& cache, std::span<const int32_t> pages);
Outputs written_pages(const KvPages& cache, std::span<const KvWrite> writes);
// Rows of k or v that the writes name.
Output written_rows(const char* name, std::span<const KvWrite> writes, float* at, int64_t distance,
                    int64_t width);

// What is written of slots of `distance` floats; parts of split rows; rows of runs, and the states
// that they keep.
Output written_slots(const char* name, std::span<const KvWrite> writes, float* at, int64_t distance,
                     int64_t width);
Outputs split_parts(const char* name, const GroupSplit& split, float* y, int64_t m,
                    int64_t distance);
Output run_rows(const char* name, const DeltaRuns& runs, float* at, int64_t width,
                int64_t distance);
Output kept_states(const DeltaShape& shape, const DeltaRuns& runs);

// Saved rows of so many bytes, and the arrays that they come back to.
Output places_of(const char* name, std::span<char* const> rows, int64_t bytes);
Outputs saved_arrays(std::span<const SavedArray> arrays, int64_t m, int top_k, bool choices);

// Lists that the operator sizes.
template <class T>
Output vector_of(const char* name, std::vector<T>& list) {
  return {name, type_of<T>(), 0,
          [&list] {
            return std::string(reinterpret_cast<const char*>(list.data()), list.size() * sizeof(T));
          },
          [&list](const std::string& values) {
            list.resize(values.size() / sizeof(T));
            values.copy(reinterpret_cast<char*>(list.data()), values.size());
          }};
}
Outputs vectors_of(const char* name, std::vector<int32_t>* lists, int64_t m);

// All of them.
template <class... Parts>
Outputs outputs_of(Parts... parts) {
  Outputs all;
  [[maybe_unused]] const auto append = [&](auto&& part) {
    if constexpr (std::is_same_v<std::remove_cvref_t<decltype(part)>, Output>) {
      all.push_back(std::move(part));
    } else {
      all.insert(all.end(), part.begin(), part.end());
    }
  };
  (append(std::move(parts)), ...);
  return all;
}

}  // namespace zeroth::kernels
