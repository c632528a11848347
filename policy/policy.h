// The policy: one decoder definition, driven by PolicyConfig, that serves sampling and training
// alike.
#pragma once

#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/trajectory.h"
#include "kernels/head.h"
#include "model/config.h"
#include "model/formats/save_options.h"
#include "model/parameters.h"

namespace zeroth {

// Rows of one forward call: tokens of any number of sequences, in any mix of prefill, decode and
// packed training. Keys and values of every row are written to the cache (at the slots of `writes`)
// before any row attends.
struct ForwardBatch {
  std::span<const TokenId> tokens;           // [m]
  std::span<const int32_t> positions;        // [m] absolute
  std::span<const int32_t> sequence;         // [m] index of the row's sequence
  std::span<const int32_t> page_table;       // pages of all sequences, flattened
  std::span<const int32_t> page_begin;       // [sequences + 1]
  std::span<const kernels::KvWrite> writes;  // at least one per row
};

// Paged key/value cache of all layers; page p is the same page in every layer. Who owns which page
// is the caller's business (rollout/ for the engine, rl/ for packed training). Not thread safe.
class KvCache {
 public:
  KvCache(const PolicyConfig& config, int64_t pages);
  ~KvCache();
  int64_t pages() const;
  int64_t bytes() const;
  kernels::KvPages layer(int layer) const;
  // All layers; for a partial page that a child takes over.
  void copy_page(int32_t from, int32_t to);
  void zero();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// What backward needs of one forward call. Reusable: it keeps its memory for the next call. Belongs
// to one forward and its backward at a time.
class Activations {
 public:
  enum class Mode {
    kFull,        // everything that backward cannot cheaply recompute
    kCheckpoint,  // the input of every layer; backward runs each layer's forward again (gradients
                  // are equal bit for bit)
  };
  explicit Activations(Mode mode = Mode::kFull);
  ~Activations();
  Mode mode() const;
  int64_t bytes() const;  // memory held now
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

class ActivationStore;  // policy/activation_store.h

// Statistics of one forward call, added up over calls until reset.
struct RouterStats {
  std::vector<std::vector<int64_t>> load;  // [moe layer][expert] routed choices
};

// Thread safety: const methods may run beside each other on different caches; the others need
// exclusive access.
class Policy {
 public:
  // kSampling keeps only the packed weights that forward reads, half the memory: parameters(),
  // publish(), save(), backward and an Activations for forward are Errors then.
  enum class Use { kTraining, kSampling };
  // Reads a Hugging Face directory (config.json, safetensors, sharded or not) or a .gguf file
  // (model/formats/gguf_model.h). A tensor that is missing, unexpected, of the wrong shape or not
  // finite is an Error with its name. float32, float16, bfloat16 and block-scaled float8 (e4m3) are
  // widened to float32. Beside the weights that are kept no more than a few MiB a thread are taken.
  // Published as version 0, like init.
  static std::unique_ptr<Policy> load(const std::filesystem::path& path, Use use = Use::kTraining);
  // Random weights: normal(0, initializer_range), norms one, biases zero; a pure function of config
  // and seed.
  static std::unique_ptr<Policy> init(const PolicyConfig& config, uint64_t seed);
  ~Policy();

  const PolicyConfig& config() const;
  Parameters& parameters();  // float32 masters, one flat buffer
  const Parameters& parameters() const;
  // Makes the current parameters the ones that forward uses (packs them) and names them.
  void publish(WeightsVersion version);
  WeightsVersion version() const;
  // How often weights have been published: whether what was kept of a forward call is still theirs.
  int64_t publications() const;
  // The first layer with a trainable parameter; the number of layers when there is none, -1 when
  // the input embedding is trainable too. Lower ones are not differentiated.
  int first_trainable_layer() const;

  // hidden [m, width] after the final norm. With `save`, backward may follow. `stats` and `routing`
  // may be null. routing [m, moe layers * (top_k + 1)]: a row's chosen experts layer by layer, in
  // each the surest first; then by layer the router's score of that first one (softmax probability
  // over all experts, or sigmoid, before normalization and scaling) in units of 1/255. With
  // `store`, row i is kept there as number store_rows[i] (-1: not kept).
  void forward(const ForwardBatch& batch, KvCache& cache, float* hidden,
               Activations* save = nullptr, RouterStats* stats = nullptr,
               uint8_t* routing = nullptr, ActivationStore* store = nullptr,
               std::span<const int32_t> store_rows = {}) const;
  // Leaves in hidden, cache, save and stats what forward would, bit for bit, without its
  // arithmetic: row i was kept as number store_rows[i] by a forward call in which it stood at the
  // same position after the same tokens. The store must hold() this policy; save is kFull, and all
  // layers are trainable from the first on (first_trainable_layer() <= 0).
  void recall(const ForwardBatch& batch, KvCache& cache, float* hidden, Activations& save,
              RouterStats* stats, const ActivationStore& store,
              std::span<const int32_t> store_rows) const;
  // Adds to grads (flat, laid out like parameters()) the gradient of <dhidden, hidden>. dhidden [m,
  // width] is overwritten. `batch`, the cache and the parameters must be those of the forward call,
  // unchanged; keys of earlier calls are constants. aux_coef > 0 adds the gradient of the balancing
  // loss aux_coef * E sum_e f_e P_e over all rows and MoE layers of the batch: f_e choices of
  // expert e a row, P_e its mean share of the scores (Fedus et al., "Switch Transformers", 2021,
  // equations 4 to 6, with f over all k choices as OLMoE has it). Nothing is computed below the
  // first layer that has a trainable parameter, so grads there stay as they are; other frozen
  // parameters' gradients are not promised. What is trainable must not change between forward and
  // backward.
  void backward(const ForwardBatch& batch, const KvCache& cache, Activations& saved, float* dhidden,
                std::span<float> grads, float aux_coef = 0) const;

  // Head operations on hidden rows; see kernels/head.h. Gradients of the head go to the right place
  // of `grads` (also when the embedding is tied).
  void logprobs(const float* hidden, int64_t m, const int32_t* target, const float* temperature,
                std::span<const kernels::KeptSet> kept, float* logprob, float* entropy) const;
  void sample(const float* hidden, int64_t m, const kernels::SampleParams* params,
              const StreamKey* keys, const uint32_t* position, int32_t* token, float* logprob,
              float* entropy, std::vector<int32_t>* kept) const;
  void logprobs_backward(const float* hidden, int64_t m, const int32_t* target,
                         const float* temperature, std::span<const kernels::KeptSet> kept,
                         const float* dlogprob, const float* dentropy, float* dhidden,
                         std::span<float> grads) const;
  void logits(const float* hidden, int64_t m,
              float* out) const;  // [m, vocab]; tests and checks only

  // Writes config.json and safetensors (sharded above 5 GB) that transformers loads. The directory
  // must exist; files are written and synced one by one (the caller renames the directory).
  void save(const std::filesystem::path& dir, const SaveOptions& options = {}) const;

 private:
  Policy();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
