// Inside of policy/: the packed weights, the activations, and the passes over the layers. Every
// function here works for one layer of any family; which blocks run is decided by what the layout
// holds.
#pragma once

#include <span>

#include "kernels/operators.h"
#include "model/config.h"
#include "model/layout.h"
#include "model/rope_table.h"
#include "policy/activation_store.h"
#include "policy/published.h"
#include "policy/scratch.h"

namespace zeroth {

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
  const ForwardBatch& batch;  // the host's
  const DeviceBatch device;   // the same for operators
  const KvCache& cache;
  int64_t rows;
  bool write_cache;
  const RopeRows& rope;
  At<const int32_t> rope_positions;  // [rows] what queries and keys are rotated by
  Scratch& scratch;
  // backward only
  At<float> grads = {};
  View<const int32_t> pages = {};  // of the batch, each once
  // forward only: parts of about equal size whose rows do not see each other's keys (slices_of)
  int64_t slices = 1;
  const RopeRows* local_rope = nullptr;  // of layers with a window; null: `rope` is
  const DeltaCall* delta = nullptr;      // null: no layer is a gated delta net
  At<const float> delta_scales = {};     // Architecture::delta_scales
  // Of models with image codes, Architecture's
  const CodeLayout* images = nullptr;
  At<const float> image_constants = {};

  // What a layer's queries and keys are rotated by.
  const RopeRows& rope_of(int layer) const {
    return local_rope != nullptr && config.window[layer] > 0 ? *local_rope : rope;
  }
  Rows all() const { return {0, rows}; }
  Rows slice(int64_t i) const {
    const int64_t begin = rows * i / slices;
    return {begin, rows * (i + 1) / slices - begin};
  }
};

// weights.forward() of rows `x` [m, width] in place of embeddings: of the batch's tokens none is read.
void forward_rows(const Weights& weights, const ForwardBatch& batch, KvCache& cache,
                  At<const float> x, At<float> hidden);

// What embeddings are multiplied by where the family scales them.
float embedding_scale(const PolicyConfig& config);
// Rows of the rotary table that a batch needs, and what its queries and keys are rotated by.
int64_t positions_used(const PolicyConfig& config, const ForwardBatch& batch);
At<const int32_t> rotation_of(const PolicyConfig& config, const ForwardBatch& batch,
                              const DeviceBatch& staged, Scratch& scratch);

// How many slices forward may cut the rows of a batch into: more than one in decoding, when no row
// attends to what another one of the same batch writes, and there are rows enough for all threads.
int64_t slices_of(const kernels::Operators& ops, const PolicyConfig& config,
                  const ForwardBatch& batch, int64_t cache_pages);

// --- one layer
// x_out may be x_in.
void layer_forward(const Pass& pass, int layer, At<const float> x_in, LayerState& state,
                   At<float> x_out);
// dx [m, width]: gradient of the layer's output on entry, of its input on return.
// aux (of the host): [parts, experts] gradient of the balancing loss by a row's share of expert e,
// or null.
void layer_backward(const Pass& pass, int layer, At<const float> x_in, LayerState& state,
                    At<float> dx, const float* aux);

// Keeps the state and output of a layer for the rows with a number (-1: none), [m].
void store_layer(const Pass& pass, int layer, LayerState& state, At<float> x_out,
                 ActivationStore& store, std::span<const int32_t> rows);
// What layer_forward would leave in state, x_out and the cache, from the store; `rows` [m].
void recall_layer(const Pass& pass, int layer, const ActivationStore& store,
                  std::span<const int32_t> rows, LayerState& state, At<float> x_out);

// --- blocks: `normed` [m, width] in, `out` [m, width] out; backward gives dnormed (overwritten)
// Only the rows given; slices may run beside each other once prepare_attention was called.
void attention_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                       At<float> out, const Rows& rows);
void prepare_attention(const Pass& pass, int layer, LayerState& state);
void attention_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                        At<const float> dout, At<float> dnormed);
void latent_attention_forward(const Pass& pass, int layer, At<const float> normed,
                              LayerState& state, At<float> out);
void latent_attention_backward(const Pass& pass, int layer, At<const float> normed,
                               LayerState& state, At<const float> dout, At<float> dnormed);
void delta_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                   At<float> out);
void delta_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                    At<const float> dout, At<float> dnormed);
// Only the cache, from a state that a forward has left.
void delta_cache(const Pass& pass, int layer, LayerState& state);
void attention_cache(const Pass& pass, int layer, LayerState& state);
void latent_attention_cache(const Pass& pass, int layer, LayerState& state);
// Absorbed latents: what attention gave over them [m, heads * kv_rank] becomes what the output
// projection reads [m, heads * v_dim] (scratch); and back: dattended (=) from the gradient of that.
At<float> values_of_latents(const Pass& pass, int layer, At<const float> attended);
void values_of_latents_backward(const Pass& pass, int layer, At<const float> attended,
                                At<const float> dvalues, At<float> dattended);
// Sorts the choices in state.expert_ids by expert.
void sort_choices(const Pass& pass, LayerState& state);
void moe_forward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                 At<float> out);
void moe_backward(const Pass& pass, int layer, At<const float> normed, LayerState& state,
                  At<const float> dout, At<float> dnormed, const float* aux);
// Compares what a router has chosen with what was recorded, and in a replay puts that in its place.
void recall_routing(const Pass& pass, int layer, LayerState& state);
// gate_up [m, 2 * width] is kept for backward.
void mlp_forward(const Pass& pass, const PublishedMlp& mlp, At<const float> normed,
                 At<float> gate_up, At<float> out);
// row_weights [m] (null: ones) multiplied the MLP's output; then dweights [m] is set.
void mlp_backward(const Pass& pass, const GatedMlp& mlp, const PublishedMlp& published,
                  At<const float> normed, At<const float> gate_up, At<const float> dout,
                  At<const float> row_weights, At<float> dweights, At<float> dnormed,
                  bool accumulate);

// --- shared by the blocks
kernels::DeviceRows attention_rows(const Pass& pass, int layer, const Rows& rows);
// Attention from q [m, heads * k_dim] over the cache into state.attention, then the output
// projection.
void attend(const Pass& pass, int layer, At<const float> q, int64_t ldq, LayerState& state,
            At<float> out, const Rows& rows);
// Backward of attend: dq (=), dk and dv (=) of the rows of this batch.
void attend_backward(const Pass& pass, int layer, At<const float> q, int64_t ldq, LayerState& state,
                     At<const float> dout, At<float> dq, int64_t lddq, At<float> dk, int64_t lddk,
                     At<float> dv, int64_t lddv);
// Gradients of y = x W^T + b, by the published W: adds to its place in grads; dx (= or +=) unless
// null.
void linear_backward(const Pass& pass, const Matrix& matrix, const Linear& linear,
                     At<const float> dy, int64_t lddy, At<const float> x, int64_t ldx, At<float> dx,
                     int64_t lddx, bool accumulate);

}  // namespace zeroth
