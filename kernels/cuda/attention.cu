// A block has up to kVectors query vectors: heads of one key/value head, of one row or of some that
// stand beside each other. It goes over their context twice, as docs/numerics.md says: a thread has
// a position of the scores, half a warp a vector of the softmax, a thread a component of some
// vectors of the sum. Rows of several sequences are taken one sequence after the other.
#include "kernels/cuda/attention.h"

#include <algorithm>
#include <string>

#include "core/error.h"
#include "kernels/cuda/sight.cuh"

namespace zeroth::kernels::cuda {
namespace {

constexpr int kLeafPositions = 256;
constexpr int kBeside = 4;  // vectors of a thread in the sum of values

struct AttentionArgs {
  const float* q;
  int64_t ldq;
  KvPages cache;
  PagedRows rows;
  float scale;
  int heads, per_kv;
  float* out;
  int64_t ldout;
  float* lse;
  int rows_of_block, heads_of_block;
  int64_t positions;  // that the scores of a vector have room for, in whole pages
  float* scores;      // null: in shared memory
};

// Neighbouring rows of one sequence with their heads, while a block is at them.
struct Run {
  int64_t row;
  int rows, head, heads;  // heads head .. head + heads - 1 of each row
  int kv;
  int origin, pages;    // of the pages that any of them sees: the first position, how many
  const int32_t* page;  // the sequence's, from `origin` on
  ZEROTH_DEVICE int vectors() const { return rows * heads; }
  ZEROTH_DEVICE int64_t row_of(int v) const { return row + v / heads; }
  ZEROTH_DEVICE int head_of(int v) const { return head + v % heads; }
};

// scores [v][position - origin] = scale * <q, key>, -inf where v does not see. Queries [v][k_dim].
template <int kVectors>
ZEROTH_DEVICE void score_run(const AttentionArgs& t, const Run& run, const float* queries,
                             float* scores) {
  const int k_dim = t.cache.k_dim, vectors = run.vectors();
  const int64_t page_size = int64_t{t.cache.kv_heads} * k_dim * kPageTokens;
  for (int p = static_cast<int>(threadIdx.x); p < run.pages * kPageTokens; p += kAttentionThreads) {
    const float* key = t.cache.k + run.page[p / kPageTokens] * page_size +
                       int64_t{run.kv} * k_dim * kPageTokens + p % kPageTokens;
    float acc[kVectors];
    ZEROTH_UNROLL
    for (int v = 0; v < kVectors; ++v) acc[v] = 0.0f;
    // What nobody sees is not read: its slot may hold anything.
    bool seen = false;
    for (int r = 0; r < run.rows; ++r) {
      const Sight s = sight_of(t.rows, run.row + r);
      seen |= run.origin + p >= s.first && run.origin + p <= s.last;
    }
    if (seen) {
      for (int d = 0; d < k_dim; ++d, key += kPageTokens) {
        const float k = *key;
        ZEROTH_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[v] = fma(queries[v * k_dim + d], k, acc[v]);
      }
    }
    ZEROTH_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      if (v >= vectors) break;
      const Sight s = sight_of(t.rows, run.row_of(v));
      const bool sees = run.origin + p >= s.first && run.origin + p <= s.last;
      scores[v * t.positions + p] = sees ? mul(acc[v], t.scale) : -infinity();
    }
  }
}

// Scores become exp(score - largest); inverse[v] = 1 / their sum. Half a warp a vector.
ZEROTH_DEVICE void soften_run(const AttentionArgs& t, const Run& run, float* scores,
                              float* inverse) {
  constexpr int kAtOnce = kAttentionThreads / kLanes;
  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  for (int base = 0; base < run.vectors(); base += kAtOnce) {
    const int v = base + static_cast<int>(threadIdx.x) / kLanes;
    const bool live = v < run.vectors();
    float* const s = scores + (live ? v : 0) * t.positions;
    const int end = live ? run.pages * kPageTokens : 0;
    float top = -infinity();
    for (int p = lane; p < end; p += kLanes) top = larger(s[p], top);
    top = largest_lane(top);
    float sum = 0.0f;
    // Pages that this vector sees nothing of hold -inf throughout, and add +0.
    for (int p = lane; p < end; p += kLanes) {
      const float e = exp_bounded(sub(s[p], top));
      sum = add(sum, e);
      s[p] = e;
    }
    sum = sum_lanes(sum);
    if (live && lane == 0) {
      inverse[v] = div(1.0f, sum);
      if (t.lse) t.lse[run.row_of(v) * t.heads + run.head_of(v)] = add(top, log(sum));
    }
  }
}

// out = (sum of the leaves of e * value) / sum: a thread has a component of kBeside vectors.
ZEROTH_DEVICE void sum_run(const AttentionArgs& t, const Run& run, const float* scores,
                           const float* inverse) {
  const int v_dim = t.cache.v_dim, vectors = run.vectors();
  const int items = (vectors + kBeside - 1) / kBeside * v_dim;
  const bool in_keys = t.cache.values_in_keys;
  const int dim = in_keys ? t.cache.k_dim : v_dim;  // of what a page holds
  const int64_t page_size = int64_t{t.cache.kv_heads} * dim * kPageTokens;
  const float* const values =
      (in_keys ? t.cache.k : t.cache.v) + int64_t{run.kv} * dim * kPageTokens;
  const int of_token = in_keys ? 1 : v_dim, of_component = in_keys ? kPageTokens : 1;
  for (int item = static_cast<int>(threadIdx.x); item < items; item += kAttentionThreads) {
    const int c = item % v_dim, base = item / v_dim * kBeside;
    Sight sight[kBeside];
    float leaf[kBeside], total[kBeside];
    int begin = 0, end = -1;
    ZEROTH_UNROLL
    for (int i = 0; i < kBeside; ++i) {
      const bool live = base + i < vectors;
      sight[i] = live ? sight_of(t.rows, run.row_of(base + i)) : Sight{1, 0};
      total[i] = 0.0f;
      if (!live) continue;
      if (i == 0 || sight[i].first < begin) begin = sight[i].first;
      if (sight[i].last > end) end = sight[i].last;
    }
    for (int from = begin / kLeafPositions * kLeafPositions; from <= end; from += kLeafPositions) {
      ZEROTH_UNROLL
      for (int i = 0; i < kBeside; ++i) leaf[i] = 0.0f;
      const int first = from > begin ? from : begin;
      const int last = from + kLeafPositions - 1 < end ? from + kLeafPositions - 1 : end;
      for (int p = first; p <= last; ++p) {
        const int at = p - run.origin;
        const float value = values[run.page[at / kPageTokens] * page_size +
                                   at % kPageTokens * of_token + c * of_component];
        ZEROTH_UNROLL
        for (int i = 0; i < kBeside; ++i) {
          // Skipped, not multiplied by zero: what a vector does not see must not matter.
          if (p < sight[i].first || p > sight[i].last) continue;
          leaf[i] = fma(scores[(base + i) * t.positions + at], value, leaf[i]);
        }
      }
      ZEROTH_UNROLL
      for (int i = 0; i < kBeside; ++i) {
        if (sight[i].last < from || sight[i].first >= from + kLeafPositions) continue;
        total[i] = sight[i].first >= from ? leaf[i] : add(total[i], leaf[i]);
      }
    }
    ZEROTH_UNROLL
    for (int i = 0; i < kBeside; ++i) {
      if (base + i >= vectors) continue;
      t.out[run.row_of(base + i) * t.ldout + int64_t{run.head_of(base + i)} * v_dim + c] =
          mul(total[i], inverse[base + i]);
    }
  }
}

// Block x: rows_of_block rows; y: a key/value head, and heads_of_block of its heads.
template <int kVectors>
__global__ void __launch_bounds__(kAttentionThreads) attention_kernel(const AttentionArgs t) {
  ZEROTH_SHARED(float, shared);
  float* const queries = shared;  // [kVectors][k_dim]
  float* const inverse = queries + kVectors * t.cache.k_dim;
  const int64_t block = static_cast<int64_t>(blockIdx.x) * gridDim.y + blockIdx.y;
  float* const scores = t.scores ? t.scores + block * kVectors * t.positions : inverse + kVectors;
  const int pieces = (t.per_kv + t.heads_of_block - 1) / t.heads_of_block;
  const int piece = static_cast<int>(blockIdx.y) % pieces * t.heads_of_block;
  Run run;
  run.kv = static_cast<int>(blockIdx.y) / pieces;
  run.head = run.kv * t.per_kv + piece;
  run.heads = t.per_kv - piece < t.heads_of_block ? t.per_kv - piece : t.heads_of_block;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * t.rows_of_block;
  const int64_t end =
      begin + t.rows_of_block < t.rows.count ? begin + t.rows_of_block : t.rows.count;
  for (run.row = begin; run.row < end; run.row += run.rows) {
    const int sequence = t.rows.sequence[run.row];
    Sight all = sight_of(t.rows, run.row);
    for (run.rows = 1; run.row + run.rows < end; ++run.rows) {
      if (t.rows.sequence[run.row + run.rows] != sequence) break;
      const Sight s = sight_of(t.rows, run.row + run.rows);
      if (s.first < all.first) all.first = s.first;
      if (s.last > all.last) all.last = s.last;
    }
    run.origin = all.first / kPageTokens * kPageTokens;
    run.pages = all.last / kPageTokens - all.first / kPageTokens + 1;
    run.page = t.rows.page_table + t.rows.page_begin[sequence] + all.first / kPageTokens;
    const int k_dim = t.cache.k_dim;
    for (int i = static_cast<int>(threadIdx.x); i < kVectors * k_dim; i += kAttentionThreads) {
      const int v = i / k_dim;
      queries[i] = v < run.vectors()
                       ? t.q[run.row_of(v) * t.ldq + int64_t{run.head_of(v)} * k_dim + i % k_dim]
                       : 0.0f;
    }
    __syncthreads();
    score_run<kVectors>(t, run, queries, scores);
    __syncthreads();
    soften_run(t, run, scores, inverse);
    __syncthreads();
    sum_run(t, run, scores, inverse);
    __syncthreads();
  }
}

// One block. Exact whatever the order.
__global__ void __launch_bounds__(kAttentionThreads)
    survey_kernel(const int32_t* sequence, const int32_t* position, int64_t count,
                  int64_t* survey) {
  ZEROTH_SHARED(int, shared);  // [warps][2]
  int longest = 0, joined = 0;
  for (int64_t i = threadIdx.x; i < count; i += kAttentionThreads) {
    if (position[i] + 1 > longest) longest = position[i] + 1;
    if (i > 0 && sequence[i] == sequence[i - 1]) ++joined;
  }
  for (int step = kWarp / 2; step > 0; step /= 2) {
    const int other = __shfl_xor_sync(kAllLanes, longest, step);
    if (other > longest) longest = other;
    joined += __shfl_xor_sync(kAllLanes, joined, step);
  }
  const int t = static_cast<int>(threadIdx.x);
  if (t % kWarp == 0) {
    shared[t / kWarp * 2] = longest;
    shared[t / kWarp * 2 + 1] = joined;
  }
  __syncthreads();
  if (t != 0) return;
  for (int w = 1; w < kAttentionThreads / kWarp; ++w) {
    if (shared[w * 2] > longest) longest = shared[w * 2];
    joined += shared[w * 2 + 1];
  }
  survey[0] = longest;
  survey[1] = joined;
}

// How a launch is cut: the vectors of a block, and where its scores lie.
struct Plan {
  int vectors, rows_of_block, heads_of_block;
  int64_t positions, shared_floats;
  bool in_shared;
  Plan(const KvPages& cache, const PagedRows& rows, int per_kv) {
    vectors = 1;
    while (vectors < 8 && vectors < per_kv * (rows.in_runs ? 8 : 1)) vectors *= 2;
    heads_of_block = std::min(per_kv, vectors);
    rows_of_block = rows.in_runs ? std::max(1, vectors / heads_of_block) : 1;
    positions = whole_pages(rows.longest);
    // A row by itself sees no more than its window, wherever that begins in a page.
    if (rows.window > 0 && rows_of_block == 1) {
      positions = std::min(positions, whole_pages(rows.window) + kPageTokens);
    }
    const int64_t few = vectors * (int64_t{cache.k_dim} + 1);
    shared_floats = few + vectors * positions;
    in_shared =
        shared_floats * static_cast<int64_t>(sizeof(float)) <= static_cast<int64_t>(kMostShared);
    if (!in_shared) shared_floats = few;
  }
  int64_t columns(const KvPages& cache, int per_kv) const {
    return cache.kv_heads * pieces_of(per_kv, heads_of_block);
  }
  // Floats of the scores of one block of rows, of all heads.
  int64_t scores(const KvPages& cache, int per_kv) const {
    return in_shared ? 0 : columns(cache, per_kv) * vectors * positions;
  }
};

}  // namespace

int checked_per_kv(const KvPages& cache, int heads) {
  if (cache.kv_heads < 1 || heads % cache.kv_heads != 0) {
    fail("attention with " + std::to_string(heads) + " heads over " +
             std::to_string(cache.kv_heads) + " kv heads",
         "the number of heads must be a multiple of the number of kv heads");
  }
  return heads / cache.kv_heads;
}

void survey_rows(Stream stream, const int32_t* sequence, const int32_t* position, int64_t count,
                 int64_t* survey) {
  launch(stream, survey_kernel, {1}, kAttentionThreads, kAttentionThreads / kWarp * 2 * sizeof(int),
         sequence, position, count, survey);
}

int64_t attention_workspace(const KvPages& cache, const PagedRows& rows, int heads) {
  const int per_kv = checked_per_kv(cache, heads);
  const Plan plan(cache, rows, per_kv);
  return plan.scores(cache, per_kv) * pieces_of(rows.count, plan.rows_of_block);
}

void attention(Stream stream, const float* q, int64_t ldq, const KvPages& cache,
               const PagedRows& rows, float scale, int heads, float* out, int64_t ldout, float* lse,
               const Workspace& workspace) {
  const int per_kv = checked_per_kv(cache, heads);
  const Plan plan(cache, rows, per_kv);
  int64_t at_once = pieces_of(rows.count, plan.rows_of_block);  // blocks of rows in a launch
  if (const int64_t scores = plan.scores(cache, per_kv); scores > 0) {
    if (workspace.floats < scores) {
      fail("attention over " + std::to_string(rows.longest) + " positions needs a workspace of " +
               std::to_string(scores) + " floats and has " + std::to_string(workspace.floats),
           "give it attention_workspace() floats, or shorten the context");
    }
    at_once = std::min(at_once, workspace.floats / scores);
  }
  const auto kernel = plan.vectors == 1   ? attention_kernel<1>
                      : plan.vectors == 2 ? attention_kernel<2>
                      : plan.vectors == 4 ? attention_kernel<4>
                                          : attention_kernel<8>;
  for (int64_t row = 0; row < rows.count; row += at_once * plan.rows_of_block) {
    PagedRows part = rows;
    part.sequence += row;
    part.position += row;
    part.count = std::min(rows.count - row, at_once * plan.rows_of_block);
    const AttentionArgs args{q + row * ldq,
                             ldq,
                             cache,
                             part,
                             scale,
                             heads,
                             per_kv,
                             out + row * ldout,
                             ldout,
                             lse ? lse + row * heads : nullptr,
                             plan.rows_of_block,
                             plan.heads_of_block,
                             plan.positions,
                             plan.in_shared ? nullptr : workspace.at};
    launch(stream, kernel, {pieces_of(part.count, plan.rows_of_block), plan.columns(cache, per_kv)},
           kAttentionThreads, static_cast<size_t>(plan.shared_floats) * sizeof(float), args);
  }
}

}  // namespace zeroth::kernels::cuda
