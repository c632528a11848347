// A checkpoint's own layer for multi-token prediction (DeepSeek-V3, section 2.2): from the hidden row
// of token i and from token i + 1 it tells token i + 2. It guesses, for speculative sampling, which
// checks every guess; nothing that is sampled or learnt depends on it.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "kernels/device_array.h"
#include "model/config.h"
#include "model/parameters.h"
#include "policy/weights.h"

namespace zeroth {

// Tensors model.layers.N.*, N being the model's number of layers: enorm and hnorm norm the token's
// embedding and the hidden row (behind the final norm, as vLLM passes it), eh_proj [width, 2 width]
// takes both, the embedding first, to the input of a decoder block like the model's last, whose
// output goes through shared_head.norm to the model's own head. Embedding and head are the model's,
// and so are the copies of them that a file may hold. Thread safe.
class DraftLayer {
 public:
  // Of the Hugging Face folder `path`, whose config `model` is; null where it holds none. The files
  // stay open, and the layer takes no memory until forward(). One with a tensor that is missing or
  // of another shape has no tensors() and is good for check() alone.
  static std::shared_ptr<const DraftLayer> open(const std::filesystem::path& path,
                                                const PolicyConfig& model);
  ~DraftLayer();
  // Throws Error naming the tensor that does not let it be used.
  void check() const;

  // All its tensors, by the names and in the shapes of the file, for checkpoints; those that are
  // copies of the model's embedding or head say whose (Tensor::shared).
  struct Tensor {
    ParameterInfo info;
    enum class Shared { kNo, kEmbedding, kHead } shared = Shared::kNo;
  };
  const std::vector<Tensor>& tensors() const;
  void read(size_t i, std::span<float> out) const;

  // Of one layer: that of the layer's own cache.
  const PolicyConfig& config() const;
  // Memory that forward() reuses; of one caller.
  struct Room {
    kernels::Array<float> embedded, joined, input;
    kernels::Staged<int32_t> ids;
    std::vector<int32_t> zeros;
  };
  // Row r has in `hidden` [m, width] the model's row of the token at its position, and in
  // batch.tokens[r] the token behind that. `out` [m, width]: what the head of `of` tells the token
  // after that from. `of`: weights of the model, any version.
  void forward(const Weights& of, const ForwardBatch& batch, kernels::At<const float> hidden,
               KvCache& cache, Room& room, kernels::At<float> out) const;
  // The likeliest token of every row of `out`, [m].
  static void guess(const Weights& of, kernels::At<const float> rows, std::span<TokenId> tokens);

 private:
  struct Impl;
  explicit DraftLayer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// That of the checkpoint which the weights came from; null: none. Throws as check().
const DraftLayer* draft_layer_of(const Weights& weights);

}  // namespace zeroth
