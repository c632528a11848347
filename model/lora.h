// Low-rank adapters (LoRA, arXiv 2106.09685, equation 3): a matrix is W + scale B A, with A [rank,
// in] and B [out, rank].
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/layout.h"
#include "model/parameters.h"

namespace zeroth {

// One matrix of the model with its A and B.
struct LoraPair {
  std::string module;  // name of the layer without ".weight": "model.layers.0.self_attn.q_proj"
  Matrix matrix;       // where it is among the model's parameters; may be several tensors on top of
                       // each other
  int rank = 0;
  double scale = 0;  // alpha / rank
  // Where a file keeps the experts of a layer in one tensor: its name, and the number of the expert.
  std::string parameter;
  int expert = -1;
  // Indices of A and B among the adapter's parameters.
  size_t a = 0, b = 0;
};

// What a and b of all pairs are in one flat buffer, named MODULE.lora_A and MODULE.lora_B. Not
// thread safe; const members are.
class LoraAdapter {
 public:
  // `pairs` without a and b; values are zeros.
  LoraAdapter(std::vector<LoraPair> pairs, double alpha);

  const std::vector<LoraPair>& pairs() const { return pairs_; }
  double alpha() const { return alpha_; }
  Parameters& parameters() { return parameters_; }
  const Parameters& parameters() const { return parameters_; }
  std::span<float> a(const LoraPair& pair) { return parameters_.view(info_a(pair)); }
  std::span<float> b(const LoraPair& pair) { return parameters_.view(info_b(pair)); }
  std::span<const float> a(const LoraPair& pair) const { return parameters_.view(info_a(pair)); }
  std::span<const float> b(const LoraPair& pair) const { return parameters_.view(info_b(pair)); }

  // Adds scale B A to `rows`, whole rows of the pair's matrix from row `first` on, in place. Sums
  // over the rank are in double, ascending, and rounded once with the value they are added to: the
  // same bits whichever rows a call has.
  void add_rows(const LoraPair& pair, int64_t first, std::span<float> rows) const;
  // The pair whose matrix holds the value at `offset` of the model's parameters; null: none.
  const LoraPair* find(int64_t offset) const;

 private:
  const ParameterInfo& info_a(const LoraPair& pair) const { return parameters_.infos()[pair.a]; }
  const ParameterInfo& info_b(const LoraPair& pair) const { return parameters_.infos()[pair.b]; }

  std::vector<LoraPair> pairs_;  // ascending by their matrix
  double alpha_;
  Parameters parameters_;
};

// A new adapter for the trainable matrices among `infos` whose layer has one of the names `targets`
// as its last part ("q_proj"); without names for all linear layers: attention and feed-forward,
// experts and shared experts included, routers, embedding and head not. A is uniform in +-1 /
// sqrt(in), which is what PEFT draws, pair by pair from stream i of the seed; B is zero. Throws
// Error(kUsage) for a name that is met nowhere, a matrix that is no linear layer, and when nothing
// is left.
std::unique_ptr<LoraAdapter> make_lora(const std::vector<ParameterInfo>& infos, int rank,
                                       double alpha, const std::vector<std::string>& targets,
                                       uint64_t seed);

}  // namespace zeroth
