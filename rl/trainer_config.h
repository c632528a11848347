// How a step's samples become updates: the section `trainer` of a run's config.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

struct TrainerConfig {
  int inner_epochs = 1;
  int mini_batches = 1;
  int64_t micro_batch_tokens = 8192;
  int64_t leaf_tokens = 4096;
  int branches = 1;
  bool recompute = false;
  int64_t reuse_mb = 2048;
  // The router learns by default, as TRL's, verl's and prime-rl's does: sampling and training route
  // by the same bits here, so the mismatch that made others freeze it does not arise.
  bool train_router = true;
  bool router_replay = false;
  std::vector<std::string> freeze;
  double router_aux_coef = 0;
  double router_bias_rate = 0;
  int64_t reference_refresh = 0;
  int64_t optimizer_reset = 0;
  int64_t patience = 1000;

  template <class V>
  void fields(V& v) {
    v("inner_epochs", inner_epochs, "passes over the samples of a step", Range{1, 1000});
    v("mini_batches", mini_batches, "optimizer updates per pass; groups are dealt at random",
      Range{1, 100000});
    v("micro_batch_tokens", micro_batch_tokens,
      "most rows of one forward and backward call, but at least one leaf; changes no bit",
      Range{16, 1e9});
    v("leaf_tokens", leaf_tokens,
      "a leaf is a run of samples of one problem with at most so many rows, or one sample; its "
      "gradient is summed by itself, so the last bits of the weights depend on this; smaller "
      "leaves need less memory and compute more copies of long prompts",
      Range{16, 1e9});
    v("branches", branches,
      "parts of an update that are summed apart and added as a binary tree, so that as many "
      "learners can share it; needs log2 of it + 1 gradients",
      Range{1, 1024});
    v("recompute", recompute,
      "keep only the inputs of layers and compute each again for its gradient: less memory, a "
      "third more arithmetic, the same bits");
    v("reuse_mb", reuse_mb,
      "MiB for activations of sampled tokens, which training takes over in place of computing them "
      "again (the same bits; up to one row in 16 is computed all the same and compared, and 64 "
      "log-probs of every call); 0 = always compute",
      Range{0, 1e9});
    v("train_router", train_router, "false keeps the routers of experts at their initial values");
    v("router_replay", router_replay,
      "tokens go to the experts that they were sampled with, weighed by the router of now (R3), in "
      "updates by other weights than those that sampled; sets engine.record_experts");
    v("freeze", freeze,
      "parameters whose name contains one of these keep their values; nothing is computed or kept "
      "for layers below the first that learns");
    v("router_aux_coef", router_aux_coef, "weight of the load-balancing loss; 0 = off",
      Range{0, 100});
    v("router_bias_rate", router_bias_rate,
      "after every update the selection bias of overloaded experts falls by this and that of the "
      "others rises (DeepSeek-V3); 0 = off",
      Range{0, 1});
    v("reference_refresh", reference_refresh,
      "every so many steps the reference becomes the current policy; 0 = never", Range{0, 1e9});
    v("optimizer_reset", optimizer_reset,
      "every so many steps the moments of the optimizer begin at zero again; 0 = never",
      Range{0, 1e9});
    v("patience", patience,
      "steps in a row without any update (no group had a signal) after which the run ends with "
      "exit code 1, after a checkpoint; 0 = never",
      Range{0, 1e9});
  }
};

}  // namespace zeroth
