// Inside of policy/: the memory of calls.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "kernels/operators.h"
#include "policy/delta_plan.h"
#include "policy/device_batch.h"
#include "policy/dual_chunk.h"
#include "policy/image_rows.h"
#include "policy/layer_state.h"
#include "policy/published.h"
#include "policy/two_heads.h"

namespace zeroth {

struct Activations::Impl {
  Mode mode = Mode::kFull;
  const kernels::Device* device = nullptr;  // of the last forward
  int64_t rows = 0;                         // of the last forward, 0: none
  int64_t weights_id = 0;                   // whose forward it was
  int first = 0;                            // the lowest layer that was kept
  std::vector<Floats>
      x;  // [layers + 1] of [m, width]: input of every layer, input of the final norm
  std::vector<LayerState> layers;  // kFull: one per layer; kCheckpoint: one for all
  Floats inv_final;
  std::vector<int64_t> choices;  // [parts, experts] over all layers

  // For so many layers, of which the states of `states` are kept.
  void resize(const kernels::Device& on, int layers, int states);
};

// Memory of one call that nobody needs afterwards. Names say the largest use.
struct Scratch {
  explicit Scratch(const kernels::Device& of) : device(of) { layer.on(of); }
  const kernels::Device& device;
  LayerState layer;
  StagedBatch batch;
  Floats x{device}, normed{device}, qk{device}, out{device}, mlp_out{device}, act{device};
  Floats projected{device}, gated{device}, conv{device}, q{device}, gates{device}, inv{device};
  Floats gathered{device}, kv{device}, k{device}, v{device}, latent{device}, router_logits{device};
  Ints ids{device};
  // backward
  Floats dx{device}, dnormed{device}, dqkv{device}, dqk{device}, dk{device}, dv{device};
  Floats dkv{device}, dlatent{device}, dlatent_normed{device}, dattention{device}, dact{device};
  Floats dgates{device};
  Floats dgate_up{device}, dweights{device}, dlogits{device}, dcache_k{device}, dcache_v{device};
  kernels::Array<int64_t> choice_parts{device};
  std::vector<int32_t> page_list;  // of the batch, each once
  kernels::Staged<int32_t> pages;
  std::vector<uint8_t> rerouted;  // [m] whether a router chose otherwise than was recorded
  int64_t reroutings = 0;         // how often
  DualChunks chunks;
  StagedDelta delta;
  ImageRows images{device};
  TwoHeads heads{device};
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

}  // namespace zeroth
