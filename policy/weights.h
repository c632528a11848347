// The published weights of one version of a policy: what forward reads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "policy/forward.h"

namespace zeroth {

class ActivationStore;  // policy/activation_store.h
struct WeightsImpl;     // policy/decoder.h

// What a forward call leaves besides hidden rows; every part may be left out.
struct ForwardExtras {
  Activations* save = nullptr;  // what backward of layers >= save_from will read
  int save_from = 0;
  RouterStats* stats = nullptr;
  // [m, moe layers * (top_k + 1)]: a row's chosen experts layer by layer, in each the surest first;
  // then by layer the router's score of that first one (softmax probability over all experts, or
  // sigmoid, before normalization and scaling) in units of 1/255.
  uint8_t* routing = nullptr;
  // Row i is kept in the store as number store_rows[i] (-1: not kept). The store must hold() these
  // weights.
  ActivationStore* store = nullptr;
  std::span<const int32_t> store_rows = {};
};

// Immutable: a version is made once (Policy::publish, Policy::load) and never written again, so
// whoever holds one may read it while the next is made. Holders count: the memory of the last
// version that nobody holds is taken for the next one, so two versions in use cost two packed
// copies and no more. Needs neither the policy nor its masters. Thread safe: calls may run beside
// each other on different caches, activations and stores.
class Weights {
 public:
  explicit Weights(std::unique_ptr<WeightsImpl> impl);  // for policy/publish.cc
  ~Weights();
  Weights(const Weights&) = delete;
  Weights& operator=(const Weights&) = delete;

  const PolicyConfig& config() const;
  WeightsVersion version() const;
  // kBfloat16: every value is the master rounded once to the nearest bfloat16, but for those that
  // keep every bit (ParameterInfo::exact()). Calls compute in float32 either way.
  kernels::Element element() const;
  // What computes the calls.
  const kernels::Operators& operators() const;
  // Of this publication; never used twice in a process, also when a version is published again.
  int64_t id() const;
  // Memory of the packed weights.
  int64_t bytes() const;
  // Of the values alone, however they are packed: SHA-256 of one line "NAME DTYPE SHAPE SHA256\n" a
  // tensor, sorted by NAME (that of the checkpoint), with DTYPE as in safetensors (F32, BF16),
  // SHAPE as in
  // "[4,8]" and the digest of the row-major little-endian values. The first call reads all weights
  // (a few seconds per GB on a thread); blocks.
  const std::string& sha256() const;

  // hidden [m, width] after the final norm, where operators() find it (kernels/array.h), here and
  // below. An index outside the vocabulary, the context or the cache is an Error before any work.
  void forward(const ForwardBatch& batch, KvCache& cache, kernels::At<float> hidden,
               const ForwardExtras& extras = {}) const;
  // Leaves in hidden, cache, save and stats (may be null) what forward would, bit for bit, without
  // its arithmetic: row i was kept as number store_rows[i] by a forward call of these weights in
  // which it stood at the same position after the same tokens. The store must hold() them; save is
  // kFull and keeps every layer.
  void recall(const ForwardBatch& batch, KvCache& cache, kernels::At<float> hidden,
              Activations& save, RouterStats* stats, const ActivationStore& store,
              std::span<const int32_t> store_rows) const;

  // Head operations on hidden rows; see kernels/head.h.
  void logprobs(kernels::At<const float> hidden, int64_t m, const int32_t* target,
                const float* temperature, std::span<const kernels::KeptSet> kept, float* logprob,
                float* entropy) const;
  void sample(kernels::At<const float> hidden, int64_t m, const kernels::SampleParams* params,
              const StreamKey* keys, const uint32_t* position, int32_t* token, float* logprob,
              float* entropy, std::vector<int32_t>* kept) const;
  // [m, vocab]; tests and checks only.
  void logits(kernels::At<const float> hidden, int64_t m, kernels::At<float> out) const;

  const WeightsImpl& impl() const { return *impl_; }  // for policy/

 private:
  std::unique_ptr<WeightsImpl> impl_;
};

using WeightsPtr = std::shared_ptr<const Weights>;

// A checkpoint (see Policy::load) as weights of version 0, without the masters that training needs:
// half the memory, or a quarter as bfloat16.
WeightsPtr load_weights(const std::filesystem::path& path,
                        kernels::Element element = kernels::Element::kFloat32,
                        const kernels::Operators& ops = kernels::cpu_operators());

}  // namespace zeroth
