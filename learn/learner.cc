#include "learn/learner.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "core/error.h"
#include "model/image_codes.h"
#include "policy/expert_exchange.h"

namespace zeroth {
namespace {

// The floats that get a gradient: those of the embedding (its own, or a tied head's), and all from
// the first tensor on that learns.
FloatRanges with_gradient(const Parameters& parameters) {
  const auto& infos = parameters.infos();
  const auto end = static_cast<int64_t>(parameters.values().size());
  int64_t first = end;
  for (size_t i = infos.size(); i-- > 1;) {
    if (infos[i].trainable) first = infos[i].offset;
  }
  return united({{0, infos.front().count}, {first, end}});
}

// Those that this rank collects: all that ranks share, and of its experts.
FloatRanges collected_here(const Policy& policy) {
  return common(with_gradient(policy.parameters()), policy.own_masters());
}

// By layer: the first float of those that nothing below it, nor the embedding, adds to.
std::vector<int64_t> complete_from(const Policy& policy) {
  std::vector<int64_t> from(policy.config().layers, 0);
  bool in_front = true;  // of all layers: the embedding, and what codes of images have beside it
  for (const ParameterInfo& info : policy.parameters().infos()) {
    in_front = in_front && info.layer < 0;
    for (int l = 0; l < policy.config().layers; ++l) {
      if (in_front || (info.layer >= 0 && info.layer < l))
        from[l] = std::max(from[l], info.offset + info.count);
    }
  }
  return from;
}

}  // namespace

Learner::Learner(Policy& policy, const OptimizerConfig& optimizer, const LearnerConfig& config,
                 std::unique_ptr<Collective> collective, std::unique_ptr<LoraAdapter> adapter)
    : policy_(policy),
      low_rank_(adapter ? std::make_unique<LowRankUpdate>(policy, std::move(adapter)) : nullptr),
      optimizer_(updated(), optimizer, policy.operators(), policy.expert_masters()),
      collective_(collective ? std::move(collective) : std::make_unique<Alone>()),
      branches_(config.branches),
      complete_from_(complete_from(policy)),
      gradients_(policy.parameters().values().size(), config.branches, collected_here(policy),
                 own_branches(config.branches, collective_->rank(), collective_->size()),
                 policy.operators()),
      inputs_(policy.operators()),
      mode_(config.mode),
      activations_(std::make_unique<Activations>(mode_)),
      dhidden_(policy.operators().device()),
      dresponses_(policy.operators().device()) {
  if (collective_->size() > 1) optimizer_.use_small_pages();
  if (policy_.experts() != nullptr) collect(config.branches);
}

Learner::~Learner() {
  if (policy_.experts() != nullptr) policy_.experts()->collect({});
}

// Gradients of this rank's experts by the branches of the others.
void Learner::collect(int branches) {
  ExpertExchange& experts = *policy_.experts();
  if (low_rank_) {
    fail_usage("lora with ranks.expert_parallel: an adapter of experts that are elsewhere",
               "leave ranks.expert_parallel out: with an adapter moments take little memory");
  }
  const FloatRanges own =
      common(with_gradient(policy_.parameters()), policy_.expert_masters()[experts.rank()]);
  for (int r = 0; r < experts.size(); ++r) {
    collected_.push_back(r == experts.rank()
                             ? nullptr
                             : std::make_unique<GradientTree>(
                                   policy_.parameters().values().size(), branches, own,
                                   own_branches(branches, r, experts.size()), policy_.operators()));
  }
  experts.collect([this](int rank, int branch) { return collected_[rank]->branch(branch); });
}

const Shards& Learner::shards() const {
  return low_rank_ ? low_rank_->gradient_shards() : optimizer_.shards();
}

void Learner::begin(const std::vector<bool>& filled) {
  // What others add to is cleared where nobody adds.
  if (policy_.experts() != nullptr) policy_.experts()->meet();
  for (const auto& tree : collected_) {
    if (tree) tree->begin();
  }
  announced_ = -1;
  gradients_.begin();
  inputs_.clear();
  reduced_ = {};
  collective_->begin_reduce(filled.empty() ? std::vector<bool>(branches_, true) : filled, shards());
}

void Learner::forward(const TargetBatch& batch, float* logprob, float* entropy,
                      RouterStats* stats) {
  scorer_.forward(
      *policy_.weights(), batch,
      {.save = activations_.get(), .save_from = policy_.first_trainable_layer(), .stats = stats});
  score(batch, batch.responses(), logprob, entropy);
}

void Learner::recall(const TargetBatch& batch, const ActivationStore& store,
                     std::span<const int32_t> store_rows, RouterStats* stats) {
  scorer_.recall(*policy_.weights(), batch, *activations_, stats, store, store_rows);
}

void Learner::score(const TargetBatch& batch, int64_t rows, float* logprob, float* entropy) const {
  scorer_.score(*policy_.weights(), batch, rows, logprob, entropy);
}

void Learner::accumulate(const TargetBatch& batch, const float* dlogprob, const float* dentropy,
                         const BalanceLoss& balance, int branch, bool last) {
  if (branch != branch_) finish_branch();
  branch_ = branch;
  if (policy_.experts() != nullptr && announced_ != branch) {
    policy_.experts()->begin_branch(branch);
    announced_ = branch;
  }
  const kernels::View<float> grads = gradients_.branch(branch);
  const PackedBatch& packed = batch.packed;
  const int64_t width = hidden_width(policy_.config());
  const auto parts = packed.response_rows();
  const bool apart = parts.size() > 1;
  const kernels::Operators& ops = policy_.operators();
  const kernels::At<float> dhidden = dhidden_.get(packed.rows() * width);
  kernels::At<float> dresponses =
      apart ? dresponses_.get(packed.responses() * width) : dhidden + parts[0].row * width;
  policy_.logprobs_backward(scorer_.response_hidden(), batch.responses(), batch.target.data(),
                            batch.temperature.data(), batch.kept, dlogprob, dentropy, dresponses,
                            grads, packed.response_parts());
  // Rows of prompts have no gradient of their own.
  int64_t done = 0;
  std::vector<float> aux;
  for (const PackedBatch::Segment& part : parts) {
    ops.zero_rows(dhidden + done * width, width, part.row - done, width);
    if (apart) {
      ops.copy(dresponses, dhidden + part.row * width, part.rows * width);
      dresponses += part.rows * width;
    }
    done = part.row + part.rows;
    const double share = static_cast<double>(part.rows) / static_cast<double>(balance.responses);
    if (balance.coef > 0) aux.push_back(static_cast<float>(balance.coef * share));
  }
  std::function<void(int)> complete;
  if (last) {
    complete = [&](int layer) { collective_->contribute(gradients_, complete_from_[layer]); };
  }
  policy_.backward(batch.view(), scorer_.cache(), *activations_, dhidden, grads, aux, &inputs_,
                   complete);
}

void Learner::finish_branch() {
  if (inputs_.empty()) return;
  inputs_.move_to(gradients_.branch(branch_).data() + policy_.parameters().infos().front().offset);
}

std::span<const float> Learner::reduce() {
  finish_branch();
  std::vector<GradientTree*> collected;
  for (const auto& tree : collected_) collected.push_back(tree.get());
  const std::span<float> sum = collective_->reduce(gradients_, collected);
  reduced_ = sum;
  if (!low_rank_) return reduced_;
  // A and B need the gradient of whole matrices.
  collective_->gather(sum, shards());
  reduced_ = low_rank_->differentiate(sum);
  return reduced_;
}

void Learner::abandon() { collective_->abandon(); }

double Learner::step(double lr) {
  const double norm = optimizer_.step(updated(), reduced_, lr, collective_.get());
  if (low_rank_) collective_->await(Collective::kAll);  // publish() merges
  return norm;
}

WeightsPtr Learner::publish() {
  if (collective_->size() == 1) return policy_.publish(optimizer_.steps());
  // Members meet before the policy is held, whose weights they may be asked for.
  collective_->await(0);
  WeightsPtr weights =
      policy_.publish(optimizer_.steps(), [&](int64_t end) { collective_->await(end); });
  collective_->await(Collective::kAll);
  return weights;
}

void Learner::rest() {
  reduced_ = {};
  gradients_.release();
  activations_ = std::make_unique<Activations>(mode_);
  policy_.withdraw();
}

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
