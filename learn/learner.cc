#include "learn/learner.h"

#include <algorithm>
#include <utility>

namespace zeroth {
namespace {

// Where writing gradients begins: in front of it only the embedding has any (its own, or a tied
// head's).
int64_t first_gradient(const Parameters& parameters) {
  const auto& infos = parameters.infos();
  for (size_t i = 1; i < infos.size(); ++i) {
    if (infos[i].trainable) return infos[i].offset;
  }
  return static_cast<int64_t>(parameters.values().size());
}

}  // namespace

Learner::Learner(Policy& policy, const OptimizerConfig& optimizer, Activations::Mode mode,
                 std::unique_ptr<Collective> collective)
    : policy_(policy),
      optimizer_(policy.parameters(), optimizer),
      collective_(collective ? std::move(collective) : std::make_unique<Alone>()),
      gradients_(policy.parameters().values().size()),
      activations_(mode) {}

Learner::~Learner() = default;

void Learner::begin() {
  const Parameters& parameters = policy_.parameters();
  const std::span<float> grads = gradients_.span();
  std::fill_n(grads.begin(), parameters.infos().front().count, 0.0f);
  std::fill(grads.begin() + first_gradient(parameters), grads.end(), 0.0f);
}

void Learner::forward(const TargetBatch& batch, float* logprob, float* entropy,
                      RouterStats* stats) {
  scorer_.forward(
      *policy_.weights(), batch,
      {.save = &activations_, .save_from = policy_.first_trainable_layer(), .stats = stats});
  score(batch, batch.responses(), logprob, entropy);
}

void Learner::recall(const TargetBatch& batch, const ActivationStore& store,
                     std::span<const int32_t> store_rows, RouterStats* stats) {
  scorer_.recall(*policy_.weights(), batch, activations_, stats, store, store_rows);
}

void Learner::score(const TargetBatch& batch, int64_t rows, float* logprob, float* entropy) const {
  scorer_.score(*policy_.weights(), batch, rows, logprob, entropy);
}

void Learner::accumulate(const TargetBatch& batch, const float* dlogprob, const float* dentropy,
                         double aux_coef) {
  const PackedBatch& packed = batch.packed;
  const std::vector<float>& hidden = scorer_.hidden();
  const size_t head = packed.first_response_row() * policy_.config().width;
  dhidden_.resize(hidden.size());
  std::fill(dhidden_.begin(), dhidden_.begin() + head, 0.0f);
  policy_.logprobs_backward(hidden.data() + head, batch.responses(), batch.target.data(),
                            batch.temperature.data(), batch.kept, dlogprob, dentropy,
                            dhidden_.data() + head, gradients_.span());
  policy_.backward(packed.view(), scorer_.cache(), activations_, dhidden_.data(), gradients_.span(),
                   static_cast<float>(aux_coef));
}

std::span<const float> Learner::reduce() {
  collective_->add(gradients_.span());
  return gradients_.span();
}

double Learner::step(double lr) {
  return optimizer_.step(policy_.parameters(), gradients_.span(), lr);
}

WeightsPtr Learner::publish() { return policy_.publish(optimizer_.steps()); }

std::vector<std::vector<float>> differentiate_sequences(
    Learner& learner, std::span<const std::vector<TokenId>> sequences, int64_t batch_tokens) {
  std::vector<std::vector<float>> out;
  std::vector<float> logprobs;
  for_each_pass(learner.policy().config(), sequences, batch_tokens, [&](const TargetBatch& batch) {
    logprobs.resize(batch.target.size());
    learner.forward(batch, logprobs.data(), nullptr);
    append_by_sequence(batch, logprobs, out);
    const std::vector<float> dlogprob(batch.target.size(), -1.0f);
    learner.accumulate(batch, dlogprob.data(), nullptr);
  });
  return out;
}

}  // namespace zeroth
