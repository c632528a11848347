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
#include "model/formats/frozen_base.h"
#include "model/lora.h"
#include "policy/policy.h"

namespace zeroth {

struct LoraConfig {
  int rank = 0;
  double alpha = 16;
  std::vector<std::string> targets;
  std::string adapter;
  std::string base = "float32";
  int64_t seed = -1;

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
    v("base", base,
      "bits that the frozen base's matrices are kept in; sampling and training read exactly their "
      "values, with the adapter merged",
      Choice{{"float32", "bfloat16", "q8_0"}});
    v("seed", seed, "of a new adapter's first values; -1 = that of the run", Range{-1, 1e15});
  }
  bool on() const { return rank > 0 || !adapter.empty(); }
  BaseBits base_bits() const { return base_bits_named(base); }
  // Throws Error(kUsage) for fields that nothing would read.
  void check() const;
};

// The policy that `config` learns on: without masters, over a base in lora.base, when it is on.
std::unique_ptr<Policy> load_policy(const LoraConfig& config, const std::filesystem::path& path,
                                    kernels::Element element, const kernels::Operators& ops,
                                    std::shared_ptr<ExpertExchange> experts = nullptr);

// The adapter that the config describes, for the parameters that are trainable; null when it is off.
// Throws Error for an adapter that does not fit.
std::unique_ptr<LoraAdapter> make_adapter(const LoraConfig& config, const Policy& policy,
                                          uint64_t seed);

// The adapter of a policy that has a base. The policy outlives it. Not thread safe.
class LowRankUpdate {
 public:
  // The policy's base, or else its masters in float32, stay as they are from now on; the policy
  // merges the adapter into what it publishes, and publishes again under its version. Of its
  // parameters only the adapter's matrices are trainable then.
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
  BaseBits bits() const { return policy_.base()->bits(); }
  // The base's tensors of all pairs as they are kept, for checkpoints; publish after they were
  // written to. A base that policies share must not be.
  std::vector<std::span<std::byte>> base() const;
  bool shares_base() const { return policy_.shares_base(); }

 private:
  Policy& policy_;
  std::shared_ptr<LoraAdapter> adapter_;
  ZeroedFloats gradient_;
  Shards shards_;
};

// "LoRA: rank 8 on 84 matrices, 1.2M of 9.6M parameters learn; moments take 9.8 MB, not 76.8 MB\n",
// and for a base in fewer bits a line of what that takes.
std::string describe_update(const LowRankUpdate& update, const Policy& policy);

}  // namespace zeroth
