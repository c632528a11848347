// What a whole model leaves by the operators of its policy, for comparisons of back ends and of
// devices.
#pragma once

#include <algorithm>

#include "policy/activation_store.h"
#include "policy/embedding_gradient.h"
#include "policy/scoring.h"
#include "tests/policy/support.h"

namespace zeroth::test {

using namespace kernels;

inline const std::vector<TokenId> kLeftTokens = {1, 5, 9, 2, 7, 3, 3, 8, 1, 4,
                                                 2, 2, 6, 5, 1, 1, 9, 8, 7};

// What a model leaves: log-probs, the routers' statistics, log-probs of rows that the store kept,
// gradients with and without activations, what it says greedily.
struct Left {
  std::vector<float> logprobs, entropies, again, gradient, recomputed;
  std::vector<std::vector<int64_t>> load;
  std::vector<uint8_t> routing;
  std::vector<TokenId> said;
  std::string sha256;  // of the weights
  bool operator==(const Left&) const = default;
};

inline TargetBatch two_parts() {
  TargetBatch batch;
  for (const size_t n : {11, 19}) {
    batch.packed.begin_part();
    batch.packed.add(std::span(kLeftTokens).first(n - 1));
    batch.target.insert(batch.target.end(), kLeftTokens.begin() + 1, kLeftTokens.begin() + n);
  }
  batch.packed.finish();
  batch.temperature.assign(batch.target.size(), 1.0f);
  return batch;
}

// The gradient of the sum of all log-probs and entropies, and of the balancing loss, after the
// scorer's last call.
inline std::vector<float> gradient_of(const Policy& policy, const TargetBatch& batch,
                                      Scorer& scorer, Activations& saved) {
  const Operators& ops = policy.operators();
  const int64_t m = batch.responses(), width = policy.config().width;
  const std::span<const float> values = policy.parameters().values();
  const auto n = static_cast<int64_t>(values.size());
  Array<float> grads(ops.device(), n), dhidden(ops.device(), m * width);
  clear(ops.device(), grads.data(), n);
  const std::vector<float> ones(m, 1.0f);
  policy.logprobs_backward(scorer.response_hidden(), m, batch.target.data(),
                           batch.temperature.data(), {}, ones.data(), ones.data(), dhidden.data(),
                           {grads.data(), values.size()}, batch.packed.response_parts());
  EmbeddingGradient inputs(ops);
  const std::vector<float> aux(2, 0.5f);
  policy.backward(batch.packed.view(), scorer.cache(), saved, dhidden.data(),
                  {grads.data(), values.size()}, aux, &inputs);
  if (!inputs.empty()) inputs.move_to(grads.data() + policy.parameters().infos().front().offset);
  const OnHost<float> out(ops.device(), grads.data(), n);
  return {out.values().begin(), out.values().end()};
}

inline Left left_by(const Policy& policy) {
  const WeightsPtr weights = policy.weights();
  const PolicyConfig& c = weights->config();
  const TargetBatch batch = two_parts();
  const int64_t m = batch.packed.rows();
  Left left;
  left.logprobs.resize(m);
  left.entropies.resize(m);
  left.again.resize(m);
  if (c.is_moe()) left.routing.resize(m * c.moe_layers() * (c.router.top_k + 1));
  ActivationStore store(64 << 20);
  store.begin(*weights);
  std::vector<int32_t> rows(m);
  for (int32_t& row : rows) row = store.take();
  std::reverse(rows.begin(), rows.end());
  RouterStats stats;
  Activations inputs_only(Activations::Mode::kCheckpoint), recalled;
  Scorer scorer;
  scorer.forward(*weights, batch,
                 {.save = &inputs_only,
                  .stats = &stats,
                  .routing = left.routing.empty() ? nullptr : left.routing.data(),
                  .store = &store,
                  .store_rows = rows});
  scorer.score(*weights, batch, m, left.logprobs.data(), left.entropies.data());
  left.recomputed = gradient_of(policy, batch, scorer, inputs_only);
  scorer.recall(*weights, batch, recalled, nullptr, store, rows);
  scorer.score(*weights, batch, m, left.again.data(), nullptr);
  left.gradient = gradient_of(policy, batch, scorer, recalled);
  left.load = stats.load;
  left.said = greedy_continuation(*weights, std::span(kLeftTokens).first(4), 5);
  left.sha256 = weights->sha256();
  return left;
}

}  // namespace zeroth::test
