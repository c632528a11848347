// The policy that learns: float32 masters, and the weights they were last published as.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "model/float_ranges.h"
#include "model/formats/frozen_base.h"
#include "model/formats/save_options.h"
#include "model/lora.h"
#include "model/parameters.h"
#include "policy/weights.h"

namespace zeroth {

class EmbeddingGradient;  // policy/embedding_gradient.h
class ExpertExchange;     // policy/expert_exchange.h

// Thread safety: const methods may run beside each other on different caches, and weights() beside
// everything; the others need exclusive access. To run forward beside publish(), hold the weights.
class Policy {
 public:
  // Reads a Hugging Face directory (config.json, safetensors, sharded or not) or a .gguf file
  // (model/formats/gguf_model.h). A tensor that is missing, unexpected, of the wrong shape or not
  // finite is an Error with its name. float32, float16, bfloat16 and block-scaled float8 (e4m3) are
  // widened to float32. Needs a few MiB a thread beside the weights that it keeps. Published as
  // version 0, like init. To run a model without training it: load_weights (policy/weights.h).
  // `element` is that of all published weights; masters are float32 always. `ops` compute
  // everything; they outlive the policy and its weights. With `experts` (of a model that has some)
  // this rank reads and keeps its share of them alone: the other masters take no memory.
  static std::unique_ptr<Policy> load(const std::filesystem::path& path,
                                      kernels::Element element = kernels::Element::kFloat32,
                                      const kernels::Operators& ops = kernels::cpu_operators(),
                                      std::shared_ptr<ExpertExchange> experts = nullptr);
  // Random weights: normal(0, initializer_range), norms one, biases zero; a pure function of config
  // and seed.
  static std::unique_ptr<Policy> init(const PolicyConfig& config, uint64_t seed,
                                      kernels::Element element = kernels::Element::kFloat32,
                                      const kernels::Operators& ops = kernels::cpu_operators(),
                                      std::shared_ptr<ExpertExchange> experts = nullptr);
  // load() without masters: the values are kept in these bits alone (base()), and are read as exactly
  // those.
  static std::unique_ptr<Policy> load_frozen(
      const std::filesystem::path& path, BaseBits bits,
      kernels::Element element = kernels::Element::kFloat32,
      const kernels::Operators& ops = kernels::cpu_operators());
  // A policy of the same shape, element and operators over a base that others have too. Of all such
  // policies the memory of published weights that nobody holds is one.
  static std::unique_ptr<Policy> over(const Policy& other, std::shared_ptr<FrozenBase> base);
  ~Policy();

  const PolicyConfig& config() const;
  const kernels::Operators& operators() const;
  // float32 masters, one flat buffer. With a base() they are zeros that take no memory, but for those
  // that are exact(): they learn by load, and are this policy's own.
  Parameters& parameters();
  const Parameters& parameters() const;
  // Where experts are that are not here; null: all are.
  ExpertExchange* experts() const;
  // Which masters are on which rank alone, by rank; empty: all are here.
  std::vector<FloatRanges> expert_masters() const;
  // Those that are here.
  FloatRanges own_masters() const;
  // Masters [begin, begin + out.size()), wherever they are: with a base() its values, merged with
  // the adapter.
  void read_masters(int64_t begin, std::span<float> out) const;
  // The values that stand still, in place of masters; null: there are masters.
  const std::shared_ptr<FrozenBase>& base() const;
  bool shares_base() const;  // made by over()
  // Masters become a base in these bits, and their memory goes.
  void freeze(BaseBits bits);
  // From the next publish() on values are the base's plus scale B A, merged whenever they are read;
  // null: the base's. Needs a base().
  void adapt(std::shared_ptr<const LoraAdapter> adapter);
  // What is published where there is a base().
  const WeightSource& merged() const;
  // Exact() values from another source. Needs a base().
  void take_exact(const WeightSource& source);
  // Nothing is published until publish(): weights() are null.
  void withdraw();
  // Packs the current parameters as the weights of a version. What was published before stays as it
  // is for those who hold it; when nobody does, its memory is taken for the new one.
  // `arrived`: parameters may still be on their way; arrived(end) returns when those in front of
  // float `end` are here, and is called in ascending order.
  WeightsPtr publish(WeightsVersion version, const std::function<void(int64_t end)>& arrived = {});
  // What was published last. Waits while publish() packs.
  WeightsPtr weights() const;
  // The first layer with a trainable parameter; the number of layers when there is none, -1 when
  // the input embedding is trainable too. Lower ones are not differentiated.
  int first_trainable_layer() const;

  // weights()->forward; `save` keeps what backward of the trainable layers needs.
  void forward(const ForwardBatch& batch, KvCache& cache, kernels::At<float> hidden,
               Activations* save = nullptr, RouterStats* stats = nullptr) const;
  // Adds to grads (flat, laid out like parameters(), on the device) the gradient of <dhidden,
  // hidden>. dhidden [m, width] is overwritten. `batch`, the cache and the parameters must be those
  // of the forward call, unchanged, and so must the published weights; keys of earlier calls are
  // constants. What a part of the batch adds does not depend on the other parts. aux_coefs [parts]
  // (or none: zeros) adds for every part the gradient of the balancing loss coef * E sum_e f_e P_e
  // over its rows and all MoE layers: f_e choices of expert e a row, P_e its mean share of the
  // scores (Fedus et al., "Switch Transformers", 2021, equations 4 to 6, with f over all k choices
  // as OLMoE has it).
  // Nothing is computed below the first layer that has a trainable parameter, so grads there stay
  // as they are; other frozen parameters' gradients are not promised. What is trainable must not
  // change between forward and backward. With `apart` what a tied embedding gets as an input goes
  // there in place of grads. complete(l) is called when grads get nothing more for layer `l`, those
  // above it and the final norm.
  void backward(const ForwardBatch& batch, const KvCache& cache, Activations& saved,
                kernels::At<float> dhidden, kernels::View<float> grads,
                std::span<const float> aux_coefs = {}, EmbeddingGradient* apart = nullptr,
                const std::function<void(int layer)>& complete = {}) const;

  // See kernels/head.h. Gradients of the head go to the right place of `grads` (also when the
  // embedding is tied).
  void logprobs_backward(kernels::At<const float> hidden, int64_t m, const int32_t* target,
                         const float* temperature, std::span<const kernels::KeptSet> kept,
                         const float* dlogprob, const float* dentropy, kernels::At<float> dhidden,
                         kernels::View<float> grads, kernels::RowParts parts = {}) const;

  // Writes config.json and safetensors (sharded above 5 GB) that transformers loads. The directory
  // must exist; files are written and synced one by one (the caller renames the directory). Experts
  // of other ranks are fetched tensor by tensor.
  void save(const std::filesystem::path& dir, const SaveOptions& options = {}) const;

 private:
  Policy();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
