// The fused head: logits of a tile of rows, then one row function that sampler and trainer share.
#include "kernels/head.h"

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/head_rows.h"
#include "kernels/packed_matrix.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

// Floats of logits that exist at a time (32 MiB), in whole reduction chunks where the vocabulary
// allows: every tile reads the head's weights once, and its gradient is written once per tile.
constexpr int64_t kTileFloats = int64_t{8} << 20;

int64_t tile_rows(int64_t vocab) {
  const int64_t rows = kTileFloats / vocab;
  if (rows >= kReductionChunk) return rows / kReductionChunk * kReductionChunk;
  return std::max<int64_t>(8 * kRowTile, rows / kRowTile * kRowTile);
}

Floats& tile_memory() {
  static thread_local Floats memory;
  return memory;
}

// Temperature 0 means greedy; its log-probs are those at temperature 1.
float inverse(float temperature) { return temperature > 0 ? 1.0f / temperature : 1.0f; }

// Logits, capped, of rows [begin, begin + count), and row(i, logits of row i) for each on the pool.
// Returns the logits; their rows lie *ldl apart. The caller's until the next tile.
template <class Row>
float* compute_tile(const float* hidden, int64_t ld, const PackedMatrix& w, float cap,
                    int64_t begin, int64_t count, const Row& row, int64_t* ldl) {
  const int64_t vocab = w.out();
  *ldl = (vocab + 15) / 16 * 16 + 16;
  float* logits = tile_memory().reserve(count * *ldl);
  linear(hidden + begin * ld, ld, w, nullptr, logits, *ldl, count);
  parallel_for(count, std::max<int64_t>(1, 4096 / vocab), [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (cap > 0) table().softcap(logits + i * *ldl, vocab, cap);
      row(begin + i, logits + i * *ldl);
    }
  });
  return logits;
}

// Calls row(i, logits of row i) for every row, tile by tile.
template <class Row>
void for_tiles(const float* hidden, int64_t ld, const PackedMatrix& w, float cap, int64_t m,
               const Row& row) {
  const int64_t rows = tile_rows(w.out());
  for (int64_t begin = 0, ldl = 0; begin < m; begin += rows) {
    compute_tile(hidden, ld, w, cap, begin, std::min(rows, m - begin), row, &ldl);
  }
}

// The kept logits in ascending id order; returns their buffer (this thread's).
float* collect(const float* logits, KeptSet ids) {
  float* kept = thread_scratch(Slot::kOperator, static_cast<int64_t>(ids.size()));
  for (size_t i = 0; i < ids.size(); ++i) kept[i] = logits[ids[i]];
  return kept;
}

void check_target(int32_t target, int64_t vocab, int64_t row) {
  if (target < 0 || target >= vocab) {
    fail("target id " + std::to_string(target) + " of row " + std::to_string(row) +
             " is outside the vocabulary of " + std::to_string(vocab),
         "use the tokenizer that belongs to this checkpoint");
  }
}

void check_kept(KeptSet ids, int32_t target, int64_t vocab, int64_t row) {
  const bool ascending = std::is_sorted(ids.begin(), ids.end(), std::less_equal<>());
  if (!ascending || ids.front() < 0 || ids.back() >= vocab ||
      !std::binary_search(ids.begin(), ids.end(), target)) {
    fail("the kept set of row " + std::to_string(row) + " (" + std::to_string(ids.size()) +
             " ids) does not hold target " + std::to_string(target) + " in ascending order",
         "pass the set that head_sample recorded with this token");
  }
}

RowStatistics statistics_of(const float* logits, int64_t vocab, KeptSet ids, float scale) {
  if (ids.empty()) return table().row_statistics(logits, vocab, scale);
  return table().row_statistics(collect(logits, ids), static_cast<int64_t>(ids.size()), scale);
}

// log softmax of one logit: the sampler's and the trainer's expression.
float logprob_of(float logit, float scale, const RowStatistics& row) {
  return logit * scale - row.lse;
}

// --- truncated sampling
// ---------------------------------------------------------------------------------------------
// More likely first; equal logits in ascending id order, so the order is total.
struct MoreLikely {
  const float* logits;
  bool operator()(int32_t a, int32_t b) const {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  }
};

// The shortest prefix of ids (sorted by MoreLikely as far as needed) whose mass reaches top_p of
// `total`.
size_t prefix_of_mass(std::vector<int32_t>& ids, const MoreLikely& more, const float* weights,
                      double total, float top_p) {
  double mass = 0;
  size_t sorted = 0;
  for (size_t n = 0; n < ids.size(); ++n) {
    if (n == sorted) {  // sort a few more
      const size_t next = std::min(ids.size(), std::max<size_t>(64, sorted * 4));
      std::partial_sort(ids.begin() + n, ids.begin() + next, ids.end(), more);
      sorted = next;
    }
    mass += weights[ids[n]];
    if (mass >= static_cast<double>(top_p) * total) return n + 1;
  }
  return ids.size();
}

// Ids kept by top-k, then top-p of what is left (renormalised), then min-p; ascending. At least the
// most likely one.
void keep(const float* logits, int64_t vocab, const SampleParams& params, float scale,
          std::vector<int32_t>& ids) {
  const MoreLikely more{logits};
  ids.resize(vocab);
  std::iota(ids.begin(), ids.end(), 0);
  if (params.top_k > 0 && params.top_k < vocab) {
    std::nth_element(ids.begin(), ids.begin() + params.top_k, ids.end(), more);
    ids.resize(params.top_k);
    std::sort(ids.begin(), ids.end());
  }
  float* weights = thread_scratch(Slot::kRows, vocab);
  const RowStatistics row = table().row_statistics(logits, vocab, scale);
  table().row_exp(logits, vocab, scale, row.largest, weights);
  if (params.top_p < 1) {
    double total = 0;
    for (int32_t id : ids) total += weights[id];
    ids.resize(prefix_of_mass(ids, more, weights, total, params.top_p));
    std::sort(ids.begin(), ids.end());
  }
  // weights are p / p_max.
  if (params.min_p > 0)
    std::erase_if(ids, [&](int32_t id) { return weights[id] < std::min(params.min_p, 1.0f); });
}

int32_t argmax(const float* logits, int64_t vocab) {
  int64_t at = 0;
  for (int64_t i = 1; i < vocab; ++i)
    if (logits[i] > logits[at]) at = i;
  return static_cast<int32_t>(at);
}

// Index into logits[0 .. n) drawn by inverse CDF.
int64_t draw(const float* logits, int64_t n, float scale, const RowStatistics& row, float uniform) {
  float* weights = thread_scratch(Slot::kRows, n);
  table().row_exp(logits, n, scale, row.largest, weights);
  return table().row_find(weights, n, static_cast<double>(uniform) * table().row_total(weights, n));
}

}  // namespace

int64_t head_chunk_rows(int64_t vocab) {
  return std::min<int64_t>(kReductionChunk, tile_rows(vocab));
}

void check_head_row(KeptSet ids, int32_t target, int64_t vocab, int64_t row) {
  check_target(target, vocab, row);
  if (!ids.empty()) check_kept(ids, target, vocab, row);
}

void head_logprobs(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, float* logprob,
                   float* entropy, float* lse, int64_t m, float cap) {
  const int64_t vocab = w.out();
  for_tiles(hidden, ld, w, cap, m, [&](int64_t i, const float* logits) {
    const KeptSet ids = kept.empty() ? KeptSet() : kept[i];
    check_head_row(ids, target[i], vocab, i);
    const float scale = inverse(temperature[i]);
    const RowStatistics row = statistics_of(logits, vocab, ids, scale);
    logprob[i] = logprob_of(logits[target[i]], scale, row);
    if (entropy) entropy[i] = row.entropy;
    if (lse) lse[i] = row.lse;
  });
}

void head_sample(const float* hidden, int64_t ld, const PackedMatrix& w, const SampleParams* params,
                 const StreamKey* key, const uint32_t* position, int32_t* token, float* logprob,
                 float* entropy, std::vector<int32_t>* kept_out, int64_t m, float cap) {
  const int64_t vocab = w.out();
  for_tiles(hidden, ld, w, cap, m, [&](int64_t i, const float* logits) {
    const SampleParams& p = params[i];
    const float scale = inverse(p.temperature);
    const bool greedy = p.temperature <= 0;
    thread_local std::vector<int32_t> ids;
    ids.clear();
    if (p.truncated() && !greedy) keep(logits, vocab, p, scale, ids);
    if (kept_out) kept_out[i] = ids;
    const RowStatistics row = statistics_of(logits, vocab, ids, scale);
    if (greedy) {
      token[i] = argmax(logits, vocab);
    } else {
      const float uniform = random_uniform(key[i], position[i]);
      token[i] = ids.empty() ? static_cast<int32_t>(draw(logits, vocab, scale, row, uniform))
                             : ids[draw(collect(logits, ids), static_cast<int64_t>(ids.size()),
                                        scale, row, uniform)];
    }
    logprob[i] = logprob_of(logits[token[i]], scale, row);
    if (entropy) entropy[i] = row.entropy;
  });
}

void head_backward(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, const float* dlogprob,
                   const float* dentropy, float* dhidden, int64_t lddh, float* dw, int64_t m,
                   RowParts parts, float cap) {
  const int64_t vocab = w.out(), width = w.in(), rows = tile_rows(vocab);
  const auto row = [&](int64_t i, float* logits) {
    const KeptSet ids = kept.empty() ? KeptSet() : kept[i];
    check_head_row(ids, target[i], vocab, i);
    const float scale = inverse(temperature[i]), de = dentropy ? dentropy[i] : 0.0f;
    float* capped = cap > 0 ? thread_scratch(Slot::kRows, vocab) : nullptr;
    if (capped) std::copy_n(logits, vocab, capped);
    if (ids.empty()) {
      const RowStatistics row = table().row_statistics(logits, vocab, scale);
      table().row_gradient(logits, vocab, scale, row, dlogprob[i], de);
    } else {
      const int64_t n = static_cast<int64_t>(ids.size());
      float* some = collect(logits, ids);
      const RowStatistics row = table().row_statistics(some, n, scale);
      table().row_gradient(some, n, scale, row, dlogprob[i], de);
      std::fill_n(logits, vocab, 0.0f);
      for (int64_t j = 0; j < n; ++j) logits[ids[j]] = some[j];
    }
    logits[target[i]] += dlogprob[i] * scale;
    if (capped) table().softcap_backward(capped, logits, vocab, cap);
  };
  // A tile holds whole chunks, as many as fit.
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, head_chunk_rows(vocab), chunks);
  std::vector<int64_t> begins;  // of the tile's chunks, in the tile
  for (size_t i = 0; i < chunks.size();) {
    const int64_t begin = chunks[i].begin;
    begins.clear();
    int64_t end = begin;
    for (; i < chunks.size() && chunks[i].end - begin <= rows; ++i) {
      begins.push_back(chunks[i].begin - begin);
      end = chunks[i].end;
    }
    int64_t ldl = 0;
    float* logits = compute_tile(hidden, ld, w, cap, begin, end - begin, row, &ldl);
    linear_backward_input(logits, ldl, w, dhidden + begin * lddh, lddh, end - begin, false);
    if (!dw) continue;
    linear_backward_weight(logits, ldl, hidden + begin * ld, ld, dw, width, nullptr, end - begin,
                           vocab, width, begins);
  }
}

void head_logits(const float* hidden, int64_t ld, const PackedMatrix& w, float* logits, int64_t m,
                 float cap) {
  linear(hidden, ld, w, nullptr, logits, w.out(), m);
  for (int64_t i = 0; cap > 0 && i < m; ++i) table().softcap(logits + i * w.out(), w.out(), cap);
}

}  // namespace zeroth::kernels
