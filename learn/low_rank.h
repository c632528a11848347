// Learning by a low-rank adapter (LoRA): the model's matrices stay merged, W + scale B A, so that
// sampling and training go on reading one set of weights; what is updated is A and B.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "learn/shards.h"
#include "model/buffer.h"
#include "model/lora.h"
#include "policy/policy.h"

namespace zeroth {

struct LoraConfig {
  int rank = 0;
  double alpha = 16;
  std::vector<std::string> targets;
  std::string adapter;

  template <class V>
  void fields(V& v) {
    v("rank", rank,
      "rank of the adapter that learns in place of the weights; 0 = the weights learn",
      Range{0, 65536});
    v("alpha", alpha, "the adapter adds alpha / rank B A", Range{1e-6, 1e6});
    v("targets", targets,
      "last parts of the names of the layers that it is for; [] = all linear ones, experts "
      "included");
    v("adapter", adapter,
      "folder of a PEFT adapter to go on from, with its own rank, alpha and layers; empty: a new "
      "one");
  }
  bool on() const { return rank > 0 || !adapter.empty(); }
};

// The adapter that the config describes, for the parameters that are trainable; null when it is off.
// Throws Error for an adapter that does not fit.
std::unique_ptr<LoraAdapter> make_adapter(const LoraConfig& config, const Policy& policy,
                                          uint64_t seed);

// Owns the adapter and the base values of its matrices. The policy outlives it. Not thread safe.
class LowRankUpdate {
 public:
  // Takes the policy's values as the base, merges the adapter into them and publishes them again
  // under their version; of the policy's parameters only the adapter's matrices are trainable then.
  LowRankUpdate(Policy& policy, std::unique_ptr<LoraAdapter> adapter);

  LoraAdapter& adapter() { return *adapter_; }
  const LoraAdapter& adapter() const { return *adapter_; }
  // What an optimizer updates.
  Parameters& parameters() { return adapter_->parameters(); }
  // Of the policy's parameters those that differentiate() reads, to be shared among learners.
  const Shards& gradient_shards() const { return shards_; }

  // From the gradient by the policy's parameters that by A and B: dA = scale B^T dW, dB = scale dW
  // A^T, with sums in double in ascending order, whatever the threads. Valid until the next call.
  std::span<const float> differentiate(std::span<const float> gradient);
  // Writes W + scale B A into the policy's parameters.
  void merge();

  // The base values of all pairs behind each other, for checkpoints; merge() after they were set.
  std::span<float> base() { return base_.span(); }
  std::span<const float> base() const { return base_.span(); }

 private:
  Policy& policy_;
  std::unique_ptr<LoraAdapter> adapter_;
  std::vector<int64_t> base_at_;  // of every pair, in base_
  ZeroedFloats base_, gradient_;
  Shards shards_;
};

// "LoRA: rank 8 on 84 matrices, 1.2M of 9.6M parameters learn; moments take 9.8 MB, not 76.8 MB\n"
std::string describe_update(const LowRankUpdate& update, const Policy& policy);

}  // namespace zeroth
