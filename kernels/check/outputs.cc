#include "kernels/check/outputs.h"

#include <set>

namespace zeroth::kernels {

Output picked_rows(const char* name, float* at, std::span<const int32_t> rows, int64_t width,
                   int64_t distance) {
  std::vector<float*> begins;
  for (const int32_t row : std::set<int32_t>(rows.begin(), rows.end()))
    begins.push_back(at + row * (distance > 0 ? distance : width));
  return rows_at(name, std::move(begins), width);
}

Output weights_of(const char* name, const RowWeights& w, int64_t m) {
  std::vector<float*> begins;
  for (int64_t i = 0; w.dweights && i < m; ++i)
    begins.push_back(w.dweights + (w.order ? w.order[i] : i));
  return rows_at(name, std::move(begins), 1);
}

Output groups_of(const char* name, std::span<float* const> dw, int64_t out, int64_t in) {
  return rows_at(name, std::vector<float*>(dw.begin(), dw.end()), out * in);
}

Outputs pages_of(const KvPages& cache, std::span<const int32_t> pages) {
  std::vector<float*> k, v;
  for (const int32_t page : std::set<int32_t>(pages.begin(), pages.end())) {
    k.push_back(cache.k + page * cache.k_page());
    if (!cache.values_in_keys) v.push_back(cache.v + page * cache.v_page());
  }
  return {rows_at("k pages", std::move(k), cache.k_page()),
          rows_at("v pages", std::move(v), cache.v_page())};
}

Outputs written_pages(const KvPages& cache, std::span<const KvWrite> writes) {
  std::vector<int32_t> pages;
  for (const KvWrite& write : writes)
    pages.push_back(static_cast<int32_t>(write.slot / kPageTokens));
  return pages_of(cache, pages);
}

Output written_rows(const char* name, std::span<const KvWrite> writes, float* at, int64_t distance,
                    int64_t width) {
  std::vector<int32_t> rows;
  for (const KvWrite& write : writes) rows.push_back(write.row);
  return picked_rows(name, at, rows, width, distance);
}

Output written_slots(const char* name, std::span<const KvWrite> writes, float* at, int64_t distance,
                     int64_t width) {
  std::set<int64_t> slots;
  for (const KvWrite& write : writes) slots.insert(write.slot);
  std::vector<float*> begins;
  for (const int64_t slot : slots) begins.push_back(at + slot * distance);
  return rows_at(name, std::move(begins), width);
}

Outputs split_parts(const char* name, const GroupSplit& split, float* y, int64_t m,
                    int64_t distance) {
  Outputs out;
  for (int p = 0; p < split.parts; ++p)
    if (split.to[p] >= 0)
      out.push_back(rows_of(name, y + split.to[p], m, split.groups * split.width[p], distance));
  return out;
}

Output run_rows(const char* name, const DeltaRuns& runs, float* at, int64_t width,
                int64_t distance) {
  std::vector<float*> begins;
  for (const DeltaRun& run : runs.runs)
    for (int32_t row = run.first; row < run.first + run.rows; ++row)
      begins.push_back(at + row * distance);
  return rows_at(name, std::move(begins), width);
}

Output kept_states(const DeltaShape& shape, const DeltaRuns& runs) {
  std::vector<float*> begins;
  for (const DeltaRun& run : runs.runs)
    if (run.keep >= 0) begins.push_back(runs.states + run.keep * shape.state());
  return rows_at("states", std::move(begins), shape.state());
}

// Moved bytes are compared as integers: floats among them have to be the same bits.
Output places_of(const char* name, std::span<char* const> rows, int64_t bytes) {
  std::vector<int32_t*> begins;
  for (char* row : rows)
    if (row) begins.push_back(reinterpret_cast<int32_t*>(row));
  return rows_at(name, std::move(begins), bytes / static_cast<int64_t>(sizeof(int32_t)));
}

Outputs saved_arrays(std::span<const SavedArray> arrays, int64_t m, int top_k, bool choices) {
  Outputs out;
  for (const SavedArray& a : arrays) {
    if ((a.order == SavedOrder::kChoice) != choices) continue;
    char* at = a.data.address();
    out.push_back(places_of("array", {&at, 1}, m * a.row_bytes(top_k)));
  }
  return out;
}

Outputs vectors_of(const char* name, std::vector<int32_t>* lists, int64_t m) {
  Outputs out;
  for (int64_t i = 0; lists && i < m; ++i) out.push_back(vector_of(name, lists[i]));
  return out;
}

}  // namespace zeroth::kernels
