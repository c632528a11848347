#include "policy/policy.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/parallel.h"
#include "model/formats/checkpoint.h"
#include "policy/decoder.h"

namespace zeroth {

Activations::Activations(Mode mode) : impl_(std::make_unique<Impl>()) { impl_->mode = mode; }

Activations::~Activations() = default;

Activations::Mode Activations::mode() const { return impl_->mode; }

int64_t Activations::bytes() const {
  int64_t n = impl_->inv_final.bytes();
  for (const Floats& x : impl_->x) n += x.bytes();
  for (const LayerState& layer : impl_->layers) n += layer.bytes();
  return n;
}

struct Policy::Impl {
  PolicyConfig config;
  Layout layout;
  std::optional<Parameters> parameters;  // nothing in a policy that only samples
  PublishedModel model;
  RopeTable rope;
  WeightsVersion version = 0;
  int64_t publications = 0;

  // Concurrent calls take one scratch each; a finished call leaves it for the next.
  mutable std::mutex mutex;
  mutable std::vector<std::unique_ptr<Scratch>> idle;

  Impl(const PolicyConfig& c, Policy::Use use)
      : config(c),
        layout(make_layout(config)),
        rope(config.rope, config.rope_dim(), config.max_position) {
    if (use == Policy::Use::kTraining) parameters.emplace(layout.infos);
  }
  // Embedding, every layer by `through`, final norm.
  using Through =
      std::function<void(const Pass&, int layer, const float* x, LayerState& state, float* next)>;
  void pass(const ForwardBatch& batch, KvCache& cache, float* hidden, Activations::Impl* kept,
            int first, RouterStats* stats, uint8_t* routing, const Through& through) const;
  const Parameters& values() const {
    if (!parameters) {
      fail("this policy was loaded for sampling: it kept only what forward reads",
           "load it with Policy::Use::kTraining");
    }
    return *parameters;
  }
};

namespace {

class ScratchLease {
 public:
  ScratchLease(std::mutex& mutex, std::vector<std::unique_ptr<Scratch>>& idle)
      : mutex_(mutex), idle_(idle) {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      scratch_ = std::move(idle_.back());
      idle_.pop_back();
    }
    if (!scratch_) scratch_ = std::make_unique<Scratch>();
  }
  ~ScratchLease() {
    std::lock_guard lock(mutex_);
    idle_.push_back(std::move(scratch_));
  }
  Scratch& operator*() { return *scratch_; }

 private:
  std::mutex& mutex_;
  std::vector<std::unique_ptr<Scratch>>& idle_;
  std::unique_ptr<Scratch> scratch_;
};

[[noreturn]] void fail_batch(const std::string& what) { fail("forward: " + what, ""); }

// A wrong index would read or write memory that is not ours, so every call is checked; it costs
// next to nothing.
void check_batch(const PolicyConfig& c, const ForwardBatch& batch, int64_t cache_pages) {
  const int64_t m = static_cast<int64_t>(batch.tokens.size());
  const int64_t sequences = static_cast<int64_t>(batch.page_begin.size()) - 1;
  if (batch.positions.size() != batch.tokens.size() ||
      batch.sequence.size() != batch.tokens.size() || sequences < 0) {
    fail_batch("tokens, positions and sequence differ in length, or page_begin is empty");
  }
  for (int64_t s = 0; s < sequences; ++s) {
    if (batch.page_begin[s] < 0 || batch.page_begin[s] > batch.page_begin[s + 1]) {
      fail_batch("page_begin descends at sequence " + std::to_string(s));
    }
  }
  if (batch.page_begin[sequences] > static_cast<int64_t>(batch.page_table.size())) {
    fail_batch("page_begin ends behind page_table");
  }
  for (const int32_t page : batch.page_table) {
    if (page < 0 || page >= cache_pages) {
      fail_batch("page " + std::to_string(page) + " of " + std::to_string(cache_pages));
    }
  }
  for (int64_t i = 0; i < m; ++i) {
    const int32_t token = batch.tokens[i], position = batch.positions[i], s = batch.sequence[i];
    if (token < 0 || token >= c.vocab_size) {
      fail("token id " + std::to_string(token) + " is outside the vocabulary of " +
               std::to_string(c.vocab_size),
           "use the tokenizer that belongs to the model");
    }
    if (position < 0 || position >= c.max_position) {
      fail("position " + std::to_string(position) + " is outside the model's context of " +
               std::to_string(c.max_position) + " tokens (max_position_embeddings)",
           "shorten the prompt or lower max_tokens");
    }
    if (s < 0 || s >= sequences) fail_batch("row of sequence " + std::to_string(s));
    if (batch.page_begin[s + 1] - batch.page_begin[s] <= position / kernels::kPageTokens) {
      fail_batch("sequence " + std::to_string(s) + " has no page for position " +
                 std::to_string(position));
    }
  }
  for (const kernels::KvWrite& write : batch.writes) {
    if (write.row < 0 || write.row >= m || write.slot < 0 ||
        write.slot >= cache_pages * kernels::kPageTokens) {
      fail_batch("write of row " + std::to_string(write.row) + " to slot " +
                 std::to_string(write.slot));
    }
  }
}

// Rows of the rotary table that a batch needs.
int64_t positions_used(const PolicyConfig& c, const ForwardBatch& batch) {
  int32_t last = 0;
  for (const int32_t position : batch.positions) last = std::max(last, position);
  return int64_t{c.chunk_len > 0 ? std::min(last, c.chunk_size) : last} + 1;
}

std::span<const int32_t> rotation_of(const PolicyConfig& c, const ForwardBatch& batch,
                                     Scratch& scratch) {
  if (c.chunk_len == 0) return batch.positions;
  return scratch.chunks.own_positions(c, batch.positions);
}

void count_choices(const LayerState& state, int64_t* counts) {
  for (size_t e = 0; e + 1 < state.offsets.size(); ++e) {
    counts[e] += state.offsets[e + 1] - state.offsets[e];
  }
}

// A score of 0 to 1 in units of 1/255; the nearest, so that nothing depends on contracted products.
uint8_t in_255ths(float score) {
  return score > 0 ? static_cast<uint8_t>(std::lrint(255 * std::min(score, 1.0f))) : 0;
}

// Writes what MoE layer `moe` chose for every row; the layout is that of Policy::forward.
void report_routing(const PolicyConfig& c, const LayerState& state, int64_t m, int64_t moe,
                    uint8_t* routing) {
  const int64_t k = c.router.top_k, all = c.moe_layers() * k;
  for (int64_t i = 0; i < m; ++i) {
    const int32_t* ids = state.expert_ids.data() + i * k;
    const float* scores = state.scores.data() + i * c.router.experts;
    uint8_t* row = routing + i * (all + c.moe_layers());
    uint8_t* to = row + moe * k;
    std::copy(ids, ids + k, to);
    std::sort(to, to + k, [scores](uint8_t a, uint8_t b) {
      return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
    });
    row[all + moe] = in_255ths(scores[to[0]]);
  }
}

// `least`: -1 where a row may be left out.
void check_store(const Policy& policy, const ForwardBatch& batch, const ActivationStore& store,
                 std::span<const int32_t> rows, int32_t least) {
  if (!store.holds(policy)) {
    fail("the kept activations are of other weights",
         "call ActivationStore::begin after weights have been published");
  }
  if (rows.size() != batch.tokens.size()) {
    fail_batch(std::to_string(rows.size()) + " kept rows for " +
               std::to_string(batch.tokens.size()) + " tokens");
  }
  for (const int32_t row : rows) {
    if (row < least || row >= store.rows()) {
      fail_batch("kept row " + std::to_string(row) + " of " + std::to_string(store.rows()));
    }
  }
}

}  // namespace

Policy::Policy() = default;
Policy::~Policy() = default;

std::unique_ptr<Policy> Policy::load(const std::filesystem::path& path, Use use) {
  const OpenModel model = open_model(path);
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(model.config, use);
  Impl& impl = *policy->impl_;
  float* keep = impl.parameters ? impl.parameters->values().data() : nullptr;
  publish_from(*model.source, impl.config, impl.layout, keep, impl.model);
  return policy;
}

std::unique_ptr<Policy> Policy::init(const PolicyConfig& config, uint64_t seed) {
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(config, Use::kTraining);
  initialize(config, seed, *policy->impl_->parameters);
  policy->publish(0);
  return policy;
}

const PolicyConfig& Policy::config() const { return impl_->config; }
Parameters& Policy::parameters() {
  impl_->values();
  return *impl_->parameters;
}
const Parameters& Policy::parameters() const { return impl_->values(); }
WeightsVersion Policy::version() const { return impl_->version; }

void Policy::publish(WeightsVersion version) {
  publish_values(impl_->values().values().data(), impl_->config, impl_->layout, impl_->model);
  impl_->version = version;
  ++impl_->publications;
}

int64_t Policy::publications() const { return impl_->publications; }

int Policy::first_trainable_layer() const {
  const Layout& layout = impl_->layout;
  int first = impl_->config.layers;
  for (const ParameterInfo& info : impl_->values().infos()) {
    if (!info.trainable || info.offset >= layout.final_norm) continue;
    if (info.offset == layout.embedding) return -1;
    // A layer's first parameter is its input norm.
    const auto it = std::upper_bound(
        layout.layers.begin(), layout.layers.end(), info.offset,
        [](int64_t offset, const LayerLayout& layer) { return offset < layer.input_norm; });
    first = std::min(first, static_cast<int>(it - layout.layers.begin()) - 1);
  }
  return first;
}

void Policy::Impl::pass(const ForwardBatch& batch, KvCache& cache, float* hidden,
                        Activations::Impl* kept, int first, RouterStats* stats, uint8_t* routing,
                        const Through& through) const {
  const PolicyConfig& c = config;
  check_batch(c, batch, cache.pages());
  const int64_t m = static_cast<int64_t>(batch.tokens.size()), width = c.width;
  if (m == 0) return;
  const int64_t moe_layers = c.moe_layers();
  if (routing && c.router.experts > 256) {
    fail("routed experts of a model with " + std::to_string(c.router.experts) +
             " experts do not fit in a byte",
         "do not record experts for this model");
  }
  ScratchLease lease(mutex, idle);
  Scratch& scratch = *lease;
  const std::shared_ptr<const RopeTable::Rows> rows = rope.rows(positions_used(c, batch));
  Pass pass{c,      layout, model, batch, cache, m, true, *rows, rotation_of(c, batch, scratch),
            scratch};
  pass.slices = slices_of(c, batch, cache.pages());

  const bool full = kept && kept->mode == Activations::Mode::kFull;
  if (kept) {
    kept->rows = m;
    kept->x.resize(c.layers + 1);
    kept->layers.resize(full ? c.layers : 1);
    kept->choices.assign(c.router.experts, 0);
  }
  if (stats && stats->load.empty()) {
    stats->load.assign(moe_layers, std::vector<int64_t>(c.router.experts, 0));
  }
  const auto stream = [&](int layer) {
    return kept && layer >= first ? kept->x[layer].get(m * width) : scratch.x.get(m * width);
  };
  float* x = stream(0);
  embed(model, width, batch.tokens, x);
  for (int l = 0, moe = 0; l < c.layers; ++l) {
    LayerState& state = !kept || l < first ? scratch.layer : kept->layers[full ? l : 0];
    float* next = stream(l + 1);
    through(pass, l, x, state, next);
    x = next;
    if (!c.sparse[l]) continue;
    if (kept) count_choices(state, kept->choices.data());
    if (stats) count_choices(state, stats->load[moe].data());
    if (routing) report_routing(c, state, m, moe, routing);
    ++moe;
  }
  kernels::rms_norm(x, width, model.final_norm.data(), c.norm_eps, hidden, width,
                    kept ? kept->inv_final.get(m) : nullptr, m, width);
}

void Policy::forward(const ForwardBatch& batch, KvCache& cache, float* hidden, Activations* save,
                     RouterStats* stats, uint8_t* routing, ActivationStore* store,
                     std::span<const int32_t> store_rows) const {
  if (store) check_store(*this, batch, *store, store_rows, -1);
  impl_->pass(batch, cache, hidden, save ? &save->impl() : nullptr,
              save ? first_trainable_layer() : 0, stats, routing,
              [&](const Pass& pass, int layer, const float* x, LayerState& state, float* next) {
                layer_forward(pass, layer, x, state, next);
                if (store) store_layer(pass.config, layer, state, next, *store, store_rows);
              });
}

void Policy::recall(const ForwardBatch& batch, KvCache& cache, float* hidden, Activations& save,
                    RouterStats* stats, const ActivationStore& store,
                    std::span<const int32_t> store_rows) const {
  check_store(*this, batch, store, store_rows, 0);
  const int first = first_trainable_layer();
  if (first > 0 || save.mode() != Activations::Mode::kFull) {
    fail("recall for activations of layers that training does not keep",
         "call forward when layers are frozen or activations are recomputed");
  }
  impl_->pass(batch, cache, hidden, &save.impl(), first, stats, nullptr,
              [&](const Pass& pass, int layer, const float*, LayerState& state, float* next) {
                recall_layer(pass, layer, store, store_rows, state, next);
              });
}

void Policy::backward(const ForwardBatch& batch, const KvCache& cache, Activations& saved,
                      float* dhidden, std::span<float> grads, float aux_coef) const {
  const PolicyConfig& c = impl_->config;
  Activations::Impl& kept = saved.impl();
  const int64_t m = static_cast<int64_t>(batch.tokens.size()), width = c.width;
  if (kept.rows != m) {
    fail("backward of " + std::to_string(m) + " rows after a forward of " +
             std::to_string(kept.rows),
         "call backward with the batch and activations of the last forward");
  }
  if (grads.size() != impl_->values().values().size()) {
    fail("the gradient buffer has " + std::to_string(grads.size()) + " values for " +
             std::to_string(impl_->values().values().size()) + " parameters",
         "make it as long as parameters().values()");
  }
  kept.rows = 0;  // layer inputs are overwritten below
  if (m == 0) return;
  ScratchLease lease(impl_->mutex, impl_->idle);
  Scratch& s = *lease;
  s.pages.assign(batch.page_table.begin(), batch.page_table.end());
  std::sort(s.pages.begin(), s.pages.end());
  s.pages.erase(std::unique(s.pages.begin(), s.pages.end()), s.pages.end());
  const std::shared_ptr<const RopeTable::Rows> rope = impl_->rope.rows(positions_used(c, batch));
  const Pass pass{c,
                  impl_->layout,
                  impl_->model,
                  batch,
                  cache,
                  m,
                  false,
                  *rope,
                  rotation_of(c, batch, s),
                  s,
                  impl_->values().values().data(),
                  grads.data()};

  std::vector<float> aux;
  if (aux_coef > 0 && c.is_moe()) {
    const double rows = static_cast<double>(m) * c.moe_layers();
    for (const int64_t n : kept.choices) {
      aux.push_back(static_cast<float>(aux_coef * c.router.experts * (n / rows) / rows));
    }
  }
  float* dx = s.dx.get(m * width);
  kernels::rms_norm_backward(dhidden, width, kept.x[c.layers].data(), width,
                             impl_->model.final_norm.data(), kept.inv_final.data(), dx, width,
                             grads.data() + impl_->layout.final_norm, m, width, false);
  const bool full = kept.mode == Activations::Mode::kFull;
  const int first = first_trainable_layer();
  for (int l = c.layers - 1; l >= std::max(first, 0); --l) {
    LayerState& state = kept.layers[full ? l : 0];
    // The recomputed layer's output is not wanted: it goes where the next layer's spent input was.
    if (!full) layer_forward(pass, l, kept.x[l].data(), state, kept.x[l + 1].data());
    layer_backward(pass, l, kept.x[l].data(), state, dx, aux.empty() ? nullptr : aux.data());
  }
  if (first >= 0) return;
  kernels::embedding_backward(dx, batch.tokens.data(), grads.data() + impl_->layout.embedding, m,
                              width, c.vocab_size);
}

void Policy::logprobs(const float* hidden, int64_t m, const int32_t* target,
                      const float* temperature, std::span<const kernels::KeptSet> kept,
                      float* logprob, float* entropy) const {
  kernels::head_logprobs(hidden, impl_->config.width, impl_->model.head, target, temperature, kept,
                         logprob, entropy, nullptr, m);
}

void Policy::sample(const float* hidden, int64_t m, const kernels::SampleParams* params,
                    const StreamKey* keys, const uint32_t* position, int32_t* token, float* logprob,
                    float* entropy, std::vector<int32_t>* kept) const {
  kernels::head_sample(hidden, impl_->config.width, impl_->model.head, params, keys, position,
                       token, logprob, entropy, kept, m);
}

void Policy::logprobs_backward(const float* hidden, int64_t m, const int32_t* target,
                               const float* temperature, std::span<const kernels::KeptSet> kept,
                               const float* dlogprob, const float* dentropy, float* dhidden,
                               std::span<float> grads) const {
  const int64_t width = impl_->config.width, head = impl_->layout.head.weight;
  kernels::head_backward(hidden, width, impl_->model.head, impl_->values().values().data() + head,
                         target, temperature, kept, dlogprob, dentropy, dhidden, width,
                         grads.data() + head, m);
}

void Policy::logits(const float* hidden, int64_t m, float* out) const {
  kernels::head_logits(hidden, impl_->config.width, impl_->model.head, out, m);
}

void Policy::save(const std::filesystem::path& dir, const SaveOptions& options) const {
  write_checkpoint(dir, impl_->config, impl_->values(), options);
}

}  // namespace zeroth
