// Attention over the paged cache: groups query vectors into tiles that share page loads and runs
// them on the pool.
#include <algorithm>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

// Rows [begin, begin + count) of `row`-indexed lists that belong to one sequence.
struct RowRun {
  int64_t begin;
  int count;
};

struct Heads {
  int kv_heads, per_kv;  // query heads of one kv head
};

Heads heads_of(const KvPages& cache, int heads) {
  if (cache.kv_heads < 1 || heads % cache.kv_heads != 0) {
    fail("attention with " + std::to_string(heads) + " heads over " +
             std::to_string(cache.kv_heads) + " kv heads",
         "the number of heads must be a multiple of the number of kv heads");
  }
  return {cache.kv_heads, heads / cache.kv_heads};
}

void check_rows(const AttentionRows& rows) {
  const int64_t sequences = static_cast<int64_t>(rows.page_begin.size()) - 1;
  for (size_t i = 0; i < rows.sequence.size(); ++i) {
    const int32_t s = rows.sequence[i], position = rows.position[i];
    if (s < 0 || s >= sequences || position < 0 ||
        position / kPageTokens >= rows.page_begin[s + 1] - rows.page_begin[s]) {
      fail("attention row " + std::to_string(i) + " at position " + std::to_string(position) +
               " of sequence " + std::to_string(s) + " has no page",
           "every position up to a row's own needs a page of its sequence");
    }
  }
}

int32_t first_visible(const AttentionRows& rows, int64_t row) {
  return rows.window > 0 ? std::max(0, rows.position[row] - rows.window + 1) : 0;
}

// Consecutive entries of `order` (row numbers) with equal sequence, at most `limit` each.
void split_runs(const AttentionRows& rows, std::span<const int32_t> order, int limit,
                std::vector<RowRun>& runs) {
  runs.clear();
  for (size_t i = 0; i < order.size();) {
    size_t j = i + 1;
    while (j < order.size() && static_cast<int>(j - i) < limit &&
           rows.sequence[order[j]] == rows.sequence[order[i]])
      ++j;
    runs.push_back({static_cast<int64_t>(i), static_cast<int>(j - i)});
    i = j;
  }
}

struct Forward {
  const float* q;
  int64_t ldq;
  const KvPages& cache;
  const AttentionRows& rows;
  float scale;
  int heads, per_kv;
  float* out;
  int64_t ldout;
  float* lse;
  bool cold;

  // Rows begin .. begin + count - 1 (of one sequence), heads from .. from + n - 1 of kv head `kv`.
  void tile(int64_t begin, int count, int kv, int from, int n) const {
    const float* qs[kRowTile];
    float* outs[kRowTile];
    float* lses[kRowTile];
    int32_t first[kRowTile], last[kRowTile];
    int vectors = 0;
    int32_t low = rows.position[begin], high = 0;
    for (int64_t row = begin; row < begin + count; ++row)
      for (int h = from; h < from + n; ++h, ++vectors) {
        const int head = kv * per_kv + h;
        qs[vectors] = q + row * ldq + int64_t{head} * cache.k_dim;
        outs[vectors] = out + row * ldout + int64_t{head} * cache.v_dim;
        lses[vectors] = lse ? lse + row * heads + head : nullptr;
        first[vectors] = first_visible(rows, row);
        last[vectors] = rows.position[row];
        low = std::min(low, first[vectors]);
        high = std::max(high, last[vectors]);
      }
    const int64_t tokens = int64_t{high / kPageTokens - low / kPageTokens + 1} * kPageTokens;
    const int64_t values = cache.values_in_keys ? tokens * cache.v_dim : 0;
    float* scratch = thread_scratch(Slot::kAttention, values + vectors * (tokens + cache.k_dim));
    const int32_t* pages = rows.page_table.data() + rows.page_begin[rows.sequence[begin]];
    const float* keys = cache.k + int64_t{kv} * cache.k_dim * kPageTokens;
    if (cache.values_in_keys) {
      take_values(keys, pages + low / kPageTokens, tokens / kPageTokens, scratch);
    }
    AttentionTile tile{vectors,
                       qs,
                       outs,
                       lses,
                       first,
                       last,
                       pages,
                       keys,
                       scratch,
                       cache.k_page(),
                       cache.v_page(),
                       cache.k_dim,
                       cache.v_dim,
                       scale,
                       scratch + values,
                       scratch + values + vectors * tokens,
                       cold && !cache.values_in_keys};
    if (!cache.values_in_keys) tile.v = cache.v + int64_t{kv} * cache.v_dim * kPageTokens;
    table().attention(tile);
  }

  // The values of `count` pages, which lie in their keys, one page behind the other.
  void take_values(const float* keys, const int32_t* pages, int64_t count, float* to) const {
    const int64_t page = int64_t{kPageTokens} * cache.v_dim;
    for (int64_t p = 0; p < count; ++p)
      table().transpose(keys + pages[p] * cache.k_page(), kPageTokens, cache.v_dim, kPageTokens,
                        to + p * page, cache.v_dim);
  }
};

}  // namespace

void kv_write(const KvPages& cache, std::span<const KvWrite> writes, const float* k, int64_t ldk,
              const float* v, int64_t ldv) {
  const int64_t floats = int64_t{cache.kv_heads} * (cache.k_dim + cache.v_dim);
  parallel_for(
      static_cast<int64_t>(writes.size()),
      std::max<int64_t>(1, 8192 / std::max<int64_t>(1, floats)), [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const auto [row, slot] = writes[i];
          const int64_t page = slot / kPageTokens, token = slot % kPageTokens;
          float* to_k = cache.k + page * cache.k_page() + token;
          const float* from_k = k + row * ldk;
          for (int64_t d = 0; d < int64_t{cache.kv_heads} * cache.k_dim; ++d)
            to_k[d * kPageTokens] = from_k[d];
          for (int h = 0; !cache.values_in_keys && h < cache.kv_heads; ++h)
            std::copy_n(v + row * ldv + int64_t{h} * cache.v_dim, cache.v_dim,
                        cache.v + page * cache.v_page() + (h * kPageTokens + token) * cache.v_dim);
        }
      });
}

void kv_write_backward(const KvPages& dcache, std::span<const KvWrite> writes, float* dk,
                       int64_t lddk, float* dv, int64_t lddv) {
  // A row's slots are added in the order of `writes`; the cut is by rows, so no two threads meet in
  // one.
  const Table& isa = table();
  int32_t rows = 0;
  for (const KvWrite& w : writes) rows = std::max(rows, w.row + 1);
  const int64_t floats = int64_t{dcache.kv_heads} * (dcache.k_dim + dcache.v_dim);
  const int64_t block =
      std::max<int64_t>({1, 8192 / std::max<int64_t>(1, floats), (rows + 63) / 64});
  parallel_for((rows + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    for (const auto& [row, slot] : writes) {
      if (row < begin * block || row >= end * block) continue;
      const int64_t page = slot / kPageTokens, token = slot % kPageTokens;
      const float* from_k = dcache.k + page * dcache.k_page() + token;
      for (int64_t d = 0; d < int64_t{dcache.kv_heads} * dcache.k_dim; ++d)
        dk[row * lddk + d] += from_k[d * kPageTokens];
      for (int h = 0; h < dcache.kv_heads; ++h) {
        float* to = dv + row * lddv + int64_t{h} * dcache.v_dim;
        isa.add(to, dcache.v + page * dcache.v_page() + (h * kPageTokens + token) * dcache.v_dim,
                to, dcache.v_dim);
      }
    }
  });
}

void attention(const float* q, int64_t ldq, const KvPages& cache, const AttentionRows& rows,
               float scale, int heads, float* out, int64_t ldout, float* lse) {
  const auto [kv_heads, per_kv] = heads_of(cache, heads);
  check_rows(rows);
  thread_local std::vector<int32_t> order_memory;
  thread_local std::vector<RowRun> runs_memory;
  std::vector<int32_t>& order = order_memory;
  std::vector<RowRun>& runs = runs_memory;
  order.resize(rows.sequence.size());
  std::iota(order.begin(), order.end(), 0);
  split_runs(rows, order, std::max(1, kRowTile / per_kv), runs);
  // In decoding every row has a cache of its own, which mostly comes from memory.
  const bool apart =
      std::adjacent_find(rows.sequence.begin(), rows.sequence.end()) == rows.sequence.end();
  const Forward forward{q, ldq, cache, rows, scale, heads, per_kv, out, ldout, lse, apart};
  const int chunk = std::min(per_kv, kRowTile), chunks = (per_kv + chunk - 1) / chunk;
  const int64_t tiles = static_cast<int64_t>(runs.size());
  const int64_t parts = int64_t{kv_heads} * chunks;
  // Neighbouring tasks share a kv head, and mostly a sequence: its pages stay in the cache. Where
  // no sequence has a second row they share the row, so that one thread reads whole pages.
  parallel_for(tiles * parts, 1, [&, group = per_kv](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const RowRun& run = runs[apart ? i / parts : i % tiles];
      const int64_t part = apart ? i % parts : i / tiles;
      const int from = static_cast<int>(part % chunks) * chunk;
      forward.tile(run.begin, run.count, static_cast<int>(part / chunks), from,
                   std::min(chunk, group - from));
    }
  });
}

namespace {

// Sets of sequences that share pages, directly or through others. Only inside such a set do
// gradients of keys and values meet.
struct PageSets {
  std::vector<int32_t> rows;        // row numbers, by set, ascending within it
  std::vector<int64_t> row_begin;   // [sets + 1]
  std::vector<int32_t> pages;       // page ids, by set
  std::vector<int64_t> page_begin;  // [sets + 1]
  std::vector<int32_t> filled;      // by entry of `pages`: tokens that some row sees
  std::vector<int32_t> local;       // by page_table entry: index of the page within its set
};

// Tokens of every sequence that some row sees (its highest position + 1).
std::vector<int32_t> lengths(const AttentionRows& rows) {
  std::vector<int32_t> length(rows.page_begin.size() - 1, 0);
  for (size_t i = 0; i < rows.sequence.size(); ++i) {
    int32_t& tokens = length[rows.sequence[i]];
    tokens = std::max(tokens, rows.position[i] + 1);
  }
  return length;
}

// Union-find over page ids: pages of one sequence are joined.
class PageForest {
 public:
  explicit PageForest(int32_t pages) : parent_(pages) {
    std::iota(parent_.begin(), parent_.end(), 0);
  }
  int32_t root(int32_t page) {
    while (parent_[page] != page) page = parent_[page] = parent_[parent_[page]];
    return page;
  }
  void join(int32_t a, int32_t b) { parent_[root(a)] = root(b); }

 private:
  std::vector<int32_t> parent_;
};

PageSets find_sets(const AttentionRows& rows) {
  const std::vector<int32_t> length = lengths(rows);
  int32_t page_count = 0;
  for (int32_t page : rows.page_table) page_count = std::max(page_count, page + 1);
  // Calls f(sequence, index of the page in it, entry of the page table) for every page in use.
  const auto for_pages = [&](const auto& f) {
    for (size_t s = 0; s < length.size(); ++s)
      for (int32_t j = 0; j * kPageTokens < length[s]; ++j) f(s, j, rows.page_begin[s] + j);
  };
  PageForest forest(page_count);
  for_pages([&](size_t s, int32_t, int64_t entry) {
    forest.join(rows.page_table[entry], rows.page_table[rows.page_begin[s]]);
  });

  struct Set {
    std::vector<int32_t> rows, pages, filled;
  };
  std::vector<Set> found;
  std::vector<int32_t> set_of(page_count, -1), position(page_count, -1);
  for (size_t i = 0; i < rows.sequence.size(); ++i) {
    int32_t& set = set_of[forest.root(rows.page_table[rows.page_begin[rows.sequence[i]]])];
    if (set < 0) {
      set = static_cast<int32_t>(found.size());
      found.emplace_back();
    }
    found[set].rows.push_back(static_cast<int32_t>(i));
  }
  PageSets sets;
  sets.local.assign(rows.page_table.size(), -1);
  for_pages([&](size_t s, int32_t j, int64_t entry) {
    const int32_t page = rows.page_table[entry];
    Set& set = found[set_of[forest.root(page)]];
    if (position[page] < 0) {
      position[page] = static_cast<int32_t>(set.pages.size());
      set.pages.push_back(page);
      set.filled.push_back(0);
    }
    sets.local[entry] = position[page];
    int32_t& filled = set.filled[position[page]];
    filled = std::max(filled, std::min(kPageTokens, length[s] - j * kPageTokens));
  });
  sets.row_begin.push_back(0);
  sets.page_begin.push_back(0);
  for (const Set& set : found) {
    sets.rows.insert(sets.rows.end(), set.rows.begin(), set.rows.end());
    sets.pages.insert(sets.pages.end(), set.pages.begin(), set.pages.end());
    sets.filled.insert(sets.filled.end(), set.filled.begin(), set.filled.end());
    sets.row_begin.push_back(static_cast<int64_t>(sets.rows.size()));
    sets.page_begin.push_back(static_cast<int64_t>(sets.pages.size()));
  }
  return sets;
}

struct Backward {
  const float* q;
  int64_t ldq;
  const KvPages& cache;
  const AttentionRows& rows;
  float scale;
  int heads, per_kv;
  const float* out;
  int64_t ldout;
  const float* lse;
  const float* dout;
  int64_t lddout;
  float* dq;
  int64_t lddq;
  const KvPages& dcache;
  const PageSets& sets;

  // One kv head of one set: its tiles one after the other, so every page receives its rows in
  // order.
  void run(int64_t set, int kv) const {
    const int64_t k_offset = int64_t{kv} * cache.k_dim * kPageTokens,
                  v_offset = int64_t{kv} * cache.v_dim * kPageTokens;
    const int64_t kd = (cache.k_dim + 15) / 16 * 16;
    const int64_t pages = sets.page_begin[set + 1] - sets.page_begin[set];
    const int64_t k_size = kPageTokens * kd, v_size = int64_t{kPageTokens} * cache.v_dim;
    float* k_rows =
        thread_scratch(Slot::kAttention, pages * (k_size + v_size) +
                                             attention_backward_scratch(cache.k_dim, cache.v_dim));
    float* v_columns = k_rows + pages * k_size;
    float* scratch = v_columns + pages * v_size;
    std::fill_n(k_rows, pages * k_size, 0.0f);
    for (int64_t p = 0; p < pages; ++p) {
      const int64_t id = sets.pages[sets.page_begin[set] + p];
      // Tokens that no row sees stay zero: their weight is zero, and what their slots hold must not
      // matter.
      table().transpose(cache.k + id * cache.k_page() + k_offset, kPageTokens, cache.k_dim,
                        sets.filled[sets.page_begin[set] + p], k_rows + p * k_size, kd);
      if (cache.values_in_keys) {
        std::copy_n(cache.k + id * cache.k_page() + k_offset, v_size, v_columns + p * v_size);
      } else {
        table().transpose(cache.v + id * cache.v_page() + v_offset, cache.v_dim, kPageTokens,
                          cache.v_dim, v_columns + p * v_size, kPageTokens);
      }
    }
    const std::span<const int32_t> order(sets.rows.data() + sets.row_begin[set],
                                         sets.row_begin[set + 1] - sets.row_begin[set]);
    thread_local std::vector<RowRun> runs;
    split_runs(rows, order, std::max(1, kBackwardVectors / per_kv), runs);
    for (const RowRun& run : runs)
      for (int from = 0; from < per_kv; from += kBackwardVectors)
        tile(order.subspan(run.begin, run.count), kv, from,
             std::min(per_kv - from, kBackwardVectors), k_rows, v_columns, scratch);
  }

  void tile(std::span<const int32_t> tile_rows, int kv, int from, int n, const float* k_rows,
            const float* v_columns, float* scratch) const {
    const float* qs[kBackwardVectors];
    const float* outs[kBackwardVectors];
    const float* douts[kBackwardVectors];
    float* dqs[kBackwardVectors];
    float lses[kBackwardVectors];
    int32_t first[kBackwardVectors], last[kBackwardVectors];
    int vectors = 0;
    for (int64_t row : tile_rows)
      for (int h = from; h < from + n; ++h, ++vectors) {
        const int64_t head = int64_t{kv} * per_kv + h;
        qs[vectors] = q + row * ldq + head * cache.k_dim;
        outs[vectors] = out + row * ldout + head * cache.v_dim;
        douts[vectors] = dout + row * lddout + head * cache.v_dim;
        dqs[vectors] = dq + row * lddq + head * cache.k_dim;
        lses[vectors] = lse[row * heads + head];
        first[vectors] = first_visible(rows, row);
        last[vectors] = rows.position[row];
      }
    const int64_t entry = rows.page_begin[rows.sequence[tile_rows[0]]];
    const int64_t k_offset = int64_t{kv} * cache.k_dim * kPageTokens,
                  v_offset = int64_t{kv} * cache.v_dim * kPageTokens;
    table().attention_backward({vectors,
                                qs,
                                outs,
                                douts,
                                dqs,
                                lses,
                                first,
                                last,
                                rows.page_table.data() + entry,
                                sets.local.data() + entry,
                                cache.k + k_offset,
                                k_rows,
                                v_columns,
                                dcache.k + k_offset,
                                dcache.v + v_offset,
                                cache.k_page(),
                                dcache.v_page(),
                                cache.k_dim,
                                cache.v_dim,
                                scale,
                                scratch});
  }
};

}  // namespace

void attention_backward(const float* q, int64_t ldq, const KvPages& cache,
                        const AttentionRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache) {
  const auto [kv_heads, per_kv] = heads_of(cache, heads);
  check_rows(rows);
  const PageSets sets = find_sets(rows);
  const Backward backward{q,     ldq, cache, rows,   scale, heads, per_kv, out,
                          ldout, lse, dout,  lddout, dq,    lddq,  dcache, sets};
  const int64_t count = static_cast<int64_t>(sets.row_begin.size()) - 1;
  parallel_for(count * kv_heads, 1, [&, kv = kv_heads](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) backward.run(i / kv, static_cast<int>(i % kv));
  });
}

}  // namespace zeroth::kernels
