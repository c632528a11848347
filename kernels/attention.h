// Attention over a paged cache. What all operators promise: kernels/ops.h.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/array.h"

namespace zeroth::kernels {

inline constexpr int kPageTokens = 16;

// One layer of the cache, in memory of the host or of a device (kernels/array.h). K page:
// [kv_heads][k_dim][16 tokens] (transposed); V page: [kv_heads][16 tokens][v_dim]. With
// `values_in_keys` there are no V pages: a value is the first v_dim components of its key (latent
// attention), and operators give the same bits as from V pages with a copy of them.
template <class Where>
struct KvPagesIn {
  typename Where::template At<float> k = {};
  typename Where::template At<float> v = {};
  int kv_heads = 0, k_dim = 0, v_dim = 0;
  bool values_in_keys = false;
  int64_t k_page() const { return int64_t{1} * kv_heads * k_dim * kPageTokens; }
  int64_t v_page() const {
    return values_in_keys ? 0 : int64_t{1} * kv_heads * v_dim * kPageTokens;
  }
};
using KvPages = KvPagesIn<InHost>;
using DevicePages = KvPagesIn<OnDevice>;
// Row `row` of K/V goes to token `slot % 16` of page `slot / 16`. A row may be written to several
// slots (a partial page that children of a shared prompt copied). With values in keys v is not read.
struct KvWrite {
  int32_t row;
  int64_t slot;
};
void kv_write(const KvPages& cache, std::span<const KvWrite> writes, const float* k, int64_t ldk,
              const float* v, int64_t ldv);
// dk, dv rows += gradients found at the slots of `writes`, in order of `writes`.
void kv_write_backward(const KvPages& dcache, std::span<const KvWrite> writes, float* dk,
                       int64_t lddk, float* dv, int64_t lddv);

// Which keys a query row sees: positions 0 .. position[row] of sequence[row] (with window > 0 only
// the last `window`). Page j of sequence s is page_table[page_begin[s] + j].
template <class Where>
struct AttentionRowsIn {
  using Ids = typename Where::template View<const int32_t>;
  Ids sequence;  // [m]
  Ids position;  // [m]
  Ids page_table;
  Ids page_begin;  // [sequences + 1]
  int window = 0;
};
using AttentionRows = AttentionRowsIn<InHost>;
using DeviceRows = AttentionRowsIn<OnDevice>;
// q [m, heads * k_dim] -> out [m, heads * v_dim]; softmax(scale q k) v, two passes over the whole
// context: the maximum, then exp and sum in 16 lanes by position % 16 with a fixed tree, then PV as
// one FMA chain over ascending keys. lse [m, heads] (log-sum-exp of scaled scores) is saved for
// backward when not null.
void attention(const float* q, int64_t ldq, const KvPages& cache, const AttentionRows& rows,
               float scale, int heads, float* out, int64_t ldout, float* lse);
// dq = ; dcache += (caller zeroes it), which has pages of both whatever the cache has.
// Deterministic: every page of a head is accumulated by one task in row order.
void attention_backward(const float* q, int64_t ldq, const KvPages& cache,
                        const AttentionRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache);

}  // namespace zeroth::kernels
