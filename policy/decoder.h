// Inside of policy/: the packed weights, the activations, and the passes over the layers. Every
// function here works for one layer of any family; which blocks run is decided by what the layout
// holds.
#pragma once

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "kernels/operators.h"
#include "model/buffer.h"
#include "model/config.h"
#include "model/layout.h"
#include "model/rope_table.h"
#include "policy/activation_store.h"
#include "policy/dual_chunk.h"
#include "policy/layer_state.h"
#include "policy/published.h"

namespace zeroth {

struct Activations::Impl {
  Mode mode = Mode::kFull;
  int64_t rows = 0;        // of the last forward, 0: none
  int64_t weights_id = 0;  // whose forward it was
  int first = 0;           // the lowest layer that was kept
  std::vector<Floats>
      x;  // [layers + 1] of [m, width]: input of every layer, input of the final norm
  std::vector<LayerState> layers;  // kFull: one per layer; kCheckpoint: one for all
  Floats inv_final;
  std::vector<int64_t> choices;  // [parts, experts] over all layers
};

// Memory of one call that nobody needs afterwards. Names say the largest use.
struct Scratch {
  LayerState layer;
  Floats x, normed, qk, out, mlp_out, act, gathered, kv, k, v, latent, router_logits;
  Ints ids;
  // backward
  Floats dx, dnormed, dqkv, dqk, dk, dv, dkv, dlatent, dlatent_normed, dattention, dact, dgate_up;
  Floats dweights, dlogits, dcache_k, dcache_v;
  std::vector<int32_t> pages;  // of the batch, each once
  DualChunks chunks;
};

// A scratch of one call.
class ScratchLease {
 public:
  explicit ScratchLease(const Architecture& of) : of_(of), scratch_(of.take_scratch()) {}
  ~ScratchLease() { of_.leave_scratch(std::move(scratch_)); }
  ScratchLease(const ScratchLease&) = delete;
  ScratchLease& operator=(const ScratchLease&) = delete;
  Scratch& operator*() const { return *scratch_; }

 private:
  const Architecture& of_;
  std::unique_ptr<Scratch> scratch_;
};

// Rows [begin, begin + count) of a call.
struct Rows {
  int64_t begin, count;
};

// One call: which rows, against which cache, with which memory.
struct Pass {
  const kernels::Operators& ops;
  const PolicyConfig& config;
  const Layout& layout;
  const PublishedModel& model;
  const ForwardBatch& batch;
  const KvCache& cache;
  int64_t rows;
  bool write_cache;
  const RopeTable::Rows& rope;
  std::span<const int32_t> rope_positions;  // [rows] what queries and keys are rotated by
  Scratch& scratch;
  // backward only
  float* grads = nullptr;
  // forward only: parts of about equal size whose rows do not see each other's keys (slices_of)
  int64_t slices = 1;

  Rows all() const { return {0, rows}; }
  Rows slice(int64_t i) const {
    const int64_t begin = rows * i / slices;
    return {begin, rows * (i + 1) / slices - begin};
  }
};

// Rows of the rotary table that a batch needs, and what its queries and keys are rotated by.
int64_t positions_used(const PolicyConfig& config, const ForwardBatch& batch);
std::span<const int32_t> rotation_of(const PolicyConfig& config, const ForwardBatch& batch,
                                     Scratch& scratch);

// f(part, first row, end of its rows) for every part of a batch.
template <class F>
void for_parts(const ForwardBatch& batch, const F& f) {
  const auto m = static_cast<int64_t>(batch.tokens.size());
  const auto n = static_cast<int64_t>(batch.parts.size());
  if (n == 0) return f(int64_t{0}, int64_t{0}, m);
  for (int64_t p = 0; p < n; ++p) f(p, batch.parts[p], p + 1 < n ? batch.parts[p + 1] : m);
}

// How many slices forward may cut the rows of a batch into: more than one in decoding, when no row
// attends to what another one of the same batch writes, and there are rows enough for all threads.
int64_t slices_of(const kernels::Operators& ops, const PolicyConfig& config,
                  const ForwardBatch& batch, int64_t cache_pages);

// --- one layer
// ---------------------------------------------------------------------------------------------------
// x_out may be x_in.
void layer_forward(const Pass& pass, int layer, const float* x_in, LayerState& state, float* x_out);
// dx [m, width]: gradient of the layer's output on entry, of its input on return.
// aux: [parts, experts] gradient of the balancing loss by a row's share of expert e, or null.
void layer_backward(const Pass& pass, int layer, const float* x_in, LayerState& state, float* dx,
                    const float* aux);

// Keeps the state and output of a layer for the rows with a number (-1: none), [m].
void store_layer(const PolicyConfig& config, int layer, LayerState& state, float* x_out,
                 ActivationStore& store, std::span<const int32_t> rows);
// What layer_forward would leave in state, x_out and the cache, from the store; `rows` [m].
void recall_layer(const Pass& pass, int layer, const ActivationStore& store,
                  std::span<const int32_t> rows, LayerState& state, float* x_out);

// --- blocks: `normed` [m, width] in, `out` [m, width] out; backward gives dnormed (overwritten)
// ------------------
// Only the rows given; slices may run beside each other once prepare_attention was called.
void attention_forward(const Pass& pass, int layer, const float* normed, LayerState& state,
                       float* out, const Rows& rows);
void prepare_attention(const Pass& pass, int layer, LayerState& state);
void attention_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                        const float* dout, float* dnormed);
void latent_attention_forward(const Pass& pass, int layer, const float* normed, LayerState& state,
                              float* out);
void latent_attention_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                               const float* dout, float* dnormed);
// Only the cache, from a state that a forward has left.
void attention_cache(const Pass& pass, int layer, LayerState& state);
void latent_attention_cache(const Pass& pass, int layer, LayerState& state);
void moe_forward(const Pass& pass, int layer, const float* normed, LayerState& state, float* out);
void moe_backward(const Pass& pass, int layer, const float* normed, LayerState& state,
                  const float* dout, float* dnormed, const float* aux);
// gate_up [m, 2 * width] is kept for backward.
void mlp_forward(const Pass& pass, const PublishedMlp& mlp, const float* normed, float* gate_up,
                 float* out);
// row_weights [m] (null: ones) multiplied the MLP's output; then dweights [m] is set.
void mlp_backward(const Pass& pass, const GatedMlp& mlp, const PublishedMlp& published,
                  const float* normed, const float* gate_up, const float* dout,
                  const float* row_weights, float* dweights, float* dnormed, bool accumulate);

// --- shared by the blocks
// ----------------------------------------------------------------------------------------
kernels::AttentionRows attention_rows(const Pass& pass, int layer, const Rows& rows);
// Attention from q [m, heads * k_dim] over the cache into state.attention, then the output
// projection.
void attend(const Pass& pass, int layer, const float* q, int64_t ldq, LayerState& state, float* out,
            const Rows& rows);
// Backward of attend: dq (=), dk and dv (=) of the rows of this batch.
void attend_backward(const Pass& pass, int layer, const float* q, int64_t ldq, LayerState& state,
                     const float* dout, float* dq, int64_t lddq, float* dk, int64_t lddk, float* dv,
                     int64_t lddv);
// Gradients of y = x W^T + b, by the published W: adds to its place in grads; dx (= or +=) unless
// null.
void linear_backward(const Pass& pass, const Matrix& matrix, const Linear& linear, const float* dy,
                     int64_t lddy, const float* x, int64_t ldx, float* dx, int64_t lddx,
                     bool accumulate);

}  // namespace zeroth
