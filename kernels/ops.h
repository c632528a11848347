// The operators of the forward and backward pass, on row-major float32 matrices in host memory.
//
// The numeric contract (docs/numerics.md): in every forward operator each output row is a pure
// function of its own input row, the weights and its absolute position; never of the number of
// rows, the other rows, the layout of pages, the number of threads or the instruction set. Backward
// operators are deterministic for a given batch, whatever the number of threads and the instruction
// set. Operators write only their outputs, never block on anything but their own threads
// (core/parallel.h), and may be called from one thread at a time. Shapes are in brackets; `ld*` is
// the distance between rows in floats.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/rng.h"

namespace zeroth::kernels {

// --- instruction set
// -------------------------------------------------------------------------------------------
// "avx512", "avx2" or "portable": the best the processor has, or ZEROTH_ISA when set. All give the
// same bits.
std::string isa();
void set_isa(const std::string& name);  // throws Error(kUsage) when unknown or not supported here
std::vector<std::string> supported_isas();
// SHA-256 (hex) of the written contract: names, orders and constants of every operator.
std::string contract_hash();
std::string contract_text();

// --- matrix products
// ------------------------------------------------------------------------------------------- A
// weight matrix W [out, in] (Hugging Face layout) repacked for linear(); immutable until pack() is
// called again.
class PackedMatrix {
 public:
  PackedMatrix();
  ~PackedMatrix();
  PackedMatrix(PackedMatrix&&) noexcept;
  PackedMatrix& operator=(PackedMatrix&&) noexcept;
  void pack(const float* w, int64_t out, int64_t in, int64_t ldw);
  // The same in parts, on the caller's thread: resize, then rows [first, first + rows) of W from w
  // [rows, in]. `first` is a multiple of kPackRows, and so is `rows` but for the last part.
  static constexpr int64_t kPackRows = 32;
  void resize(int64_t out, int64_t in);
  void pack_rows(int64_t first, int64_t rows, const float* w, int64_t ldw);
  int64_t out() const;
  int64_t in() const;
  struct Impl;
  const Impl* impl() const { return impl_.get(); }

 private:
  std::unique_ptr<Impl> impl_;
};

// y [m, out] = x [m, in] W^T (+ bias [out]): one FMA chain per output over ascending k from 0; the
// bias is added last.
void linear(const float* x, int64_t ldx, const PackedMatrix& w, const float* bias, float* y,
            int64_t ldy, int64_t m);

// Rows of x are grouped: rows offsets[e] .. offsets[e+1] go through weights[e] (experts). offsets:
// [n + 1].
void grouped_linear(const float* x, int64_t ldx, std::span<const int64_t> offsets,
                    std::span<const PackedMatrix* const> weights, float* y, int64_t ldy);

// Backward of linear. dx [m, in] = (accumulate ? dx : 0) + dy [m, out] W [out, in].
void linear_backward_input(const float* dy, int64_t lddy, const float* w, int64_t ldw, float* dx,
                           int64_t lddx, int64_t m, int64_t out, int64_t in, bool accumulate);
// dw [out, in] += dy^T x; dbias [out] += column sums of dy when not null.
void linear_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx, float* dw,
                            int64_t lddw, float* dbias, int64_t m, int64_t out, int64_t in);
// Grouped versions: pointers per group, rows by offsets.
void grouped_backward_input(const float* dy, int64_t lddy, std::span<const int64_t> offsets,
                            std::span<const float* const> w, float* dx, int64_t lddx, int64_t out,
                            int64_t in);
void grouped_backward_weight(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                             std::span<const int64_t> offsets, std::span<float* const> dw,
                             int64_t out, int64_t in);

// --- row operators
// --------------------------------------------------------------------------------------------- y =
// x / sqrt(mean(x^2) + eps) * weight per row of `width`; inv_rms [m] is saved for backward when not
// null. ldx/ldy allow heads inside a row to be normalised as rows of their own.
// With heads > 1 a row holds that many parts of `width` beside each other, each normalised on its
// own with the same weight; inv_rms is [heads, m] then.
void rms_norm(const float* x, int64_t ldx, const float* weight, float eps, float* y, int64_t ldy,
              float* inv_rms, int64_t m, int64_t width, int64_t heads = 1);
// dx (=, or += when accumulate), dweight [width] += .
void rms_norm_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                       const float* weight, const float* inv_rms, float* dx, int64_t lddx,
                       float* dweight, int64_t m, int64_t width, bool accumulate,
                       int64_t heads = 1);
// y = a + b (may alias either).
void add(const float* a, const float* b, float* y, int64_t n);
// y [m, width] = silu(gate) * up where row i of gu is [gate(width) | up(width)].
void swiglu(const float* gu, int64_t ldgu, float* y, int64_t ldy, int64_t m, int64_t width);
// The weight of row i is weights[order[i]] (order null: weights[i]), its gradient dweights there.
struct RowWeights {
  const int32_t* order = nullptr;
  const float* weights = nullptr;
  float* dweights = nullptr;
};
// dgu from dy, the gradient of weight * y (no weights: of y). With act [m, width] it is set to
// weight * y, and dweights to <y, dy>: so a weighted sum of MLP outputs is differentiated without
// keeping the outputs (Guo et al., "SonicMoE", 2025).
void swiglu_backward(const float* dy, int64_t lddy, const float* gu, int64_t ldgu, float* dgu,
                     int64_t lddgu, int64_t m, int64_t width, float* act = nullptr,
                     const RowWeights& w = {});
// Rotates `heads` heads of `dim` at x + row * ldx + head * head_stride, in place, by cos/sin
// [positions, dim / 2]. interleaved = false: pairs (i, i + dim/2) (Llama, Qwen); true: pairs (2i,
// 2i + 1) (DeepSeek). inverse: backward.
void rope(float* x, int64_t ldx, int64_t head_stride, const int32_t* positions, const float* cos,
          const float* sin, int64_t m, int heads, int dim, bool interleaved, bool inverse);
// out [m, width] = table[ids]; backward: dtable[ids] += dy in ascending row order.
void embedding(const float* table, int64_t width, const int32_t* ids, float* out, int64_t m);
// The same from a packed table [vocab, width].
void embedding(const PackedMatrix& table, const int32_t* ids, float* out, int64_t m);
void embedding_backward(const float* dy, const int32_t* ids, float* dtable, int64_t m,
                        int64_t width, int64_t vocab);

// --- attention over a paged cache
// --------------------------------------------------------------------------------
inline constexpr int kPageTokens = 16;

// One layer of the cache. K page: [kv_heads][k_dim][16 tokens] (transposed); V page: [kv_heads][16
// tokens][v_dim].
struct KvPages {
  float* k = nullptr;
  float* v = nullptr;
  int kv_heads = 0, k_dim = 0, v_dim = 0;
  int64_t k_page() const { return int64_t{1} * kv_heads * k_dim * kPageTokens; }
  int64_t v_page() const { return int64_t{1} * kv_heads * v_dim * kPageTokens; }
};
// Row `row` of K/V goes to token `slot % 16` of page `slot / 16`. A row may be written to several
// slots (a partial page that children of a shared prompt copied).
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
struct AttentionRows {
  std::span<const int32_t> sequence;  // [m]
  std::span<const int32_t> position;  // [m]
  std::span<const int32_t> page_table;
  std::span<const int32_t> page_begin;  // [sequences + 1]
  int window = 0;
};
// q [m, heads * k_dim] -> out [m, heads * v_dim]; softmax(scale q k) v, two passes over the whole
// context: the maximum, then exp and sum in 16 lanes by position % 16 with a fixed tree, then PV as
// one FMA chain over ascending keys. lse [m, heads] (log-sum-exp of scaled scores) is saved for
// backward when not null.
void attention(const float* q, int64_t ldq, const KvPages& cache, const AttentionRows& rows,
               float scale, int heads, float* out, int64_t ldout, float* lse);
// dq = ; dcache += (caller zeroes it). Deterministic: every page of a head is accumulated by one
// task in row order.
void attention_backward(const float* q, int64_t ldq, const KvPages& cache,
                        const AttentionRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache);

// --- mixture of experts
// --------------------------------------------------------------------------------------------
struct RouterConfig {
  int experts = 0, top_k = 0;
  bool sigmoid = false;    // scores: softmax over experts, or sigmoid (DeepSeek-V3)
  bool normalize = false;  // divide the chosen scores by their sum (+ 1e-20 for sigmoid)
  int groups = 1, top_groups = 1;
  bool group_sum_top2 =
      false;        // group score: sum of its two best biased scores (V3), else its best (V2)
  float scale = 1;  // routed_scaling_factor
};
// logits [m, E], bias [E] or null (selection only). Ties go to the lowest index; a row's ids come
// in ascending expert order. Outputs ids [m, k], weights [m, k], scores [m, E] (softmax or sigmoid,
// for backward).
void route(const float* logits, const float* bias, const RouterConfig& config, int32_t* ids,
           float* weights, float* scores, int64_t m);
// dlogits [m, E] = from dweights [m, k].
void route_backward(const float* dweights, const int32_t* ids, const float* weights,
                    const float* scores, const RouterConfig& config, float* dlogits, int64_t m);
// Stable counting sort of the m * k choices by expert: offsets [E + 1], order[i] = choice index
// (row * k + slot).
void expert_sort(const int32_t* ids, int64_t m, int top_k, int experts,
                 std::vector<int64_t>& offsets, std::vector<int32_t>& order);
// out[i] = x[order[i] / k] for every sorted choice; backward: dx[row] = (accumulate ? dx : 0) + sum
// over slots ascending.
void gather_rows(const float* x, int64_t ldx, std::span<const int32_t> order, int top_k, float* out,
                 int64_t width);
void gather_rows_backward(const float* dout, std::span<const int32_t> order, int top_k, float* dx,
                          int64_t lddx, int64_t m, int64_t width, bool accumulate);
// out[row] = sum over slots ascending of weights[row, slot] * y[place of that choice].
void combine(const float* y, std::span<const int32_t> order, const float* weights, int top_k,
             float* out, int64_t ldout, int64_t m, int64_t width);

// --- optimizer
// -------------------------------------------------------------------------------------------------------
// Sum of squares in double, in a fixed order.
double sum_squares(const float* x, int64_t n);
struct AdamWStep {
  float lr = 0, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-15f, weight_decay = 0;
  int64_t step = 1;      // from 1; bias correction
  float grad_scale = 1;  // multiplies the gradient (clipping)
};
// Decoupled weight decay (Loshchilov and Hutter, 2019, algorithm 2). All arrays [n].
void adamw(float* w, const float* grad, float* m, float* v, int64_t n, const AdamWStep& step);

}  // namespace zeroth::kernels
