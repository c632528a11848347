#include "policy/weights.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "core/error.h"
#include "policy/decoder.h"

namespace zeroth {
namespace {

using kernels::OnHost;

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
  for (size_t p = 0; p < batch.parts.size(); ++p) {
    const bool ascends = p == 0 ? batch.parts[0] == 0 : batch.parts[p] >= batch.parts[p - 1];
    if (!ascends || batch.parts[p] > m)
      fail_batch("part " + std::to_string(p) + " begins at row " + std::to_string(batch.parts[p]));
  }
  for (const kernels::KvWrite& write : batch.writes) {
    if (write.row < 0 || write.row >= m || write.slot < 0 ||
        write.slot >= cache_pages * kernels::kPageTokens) {
      fail_batch("write of row " + std::to_string(write.row) + " to slot " +
                 std::to_string(write.slot));
    }
  }
}

// Ids that are none would choose weights of nobody, so they are checked like indices.
void check_recorded(const PolicyConfig& c, const ForwardBatch& batch) {
  const std::span<const uint16_t> experts = batch.recorded.experts;
  if (experts.empty()) return;
  const auto k = static_cast<size_t>(c.router.top_k);
  if (!c.is_moe() || experts.size() != batch.tokens.size() * c.moe_layers() * k) {
    fail_batch(std::to_string(experts.size()) + " recorded experts for " +
               std::to_string(batch.tokens.size()) + " tokens of " +
               std::to_string(c.moe_layers()) + " layers with " + std::to_string(k) + " each");
  }
  for (size_t at = 0; at < experts.size(); at += k) {
    const auto ids = experts.subspan(at, k);
    if (ids[0] == RecordedRouting::kNone) continue;
    const bool ascend = std::is_sorted(ids.begin(), ids.end(), std::less_equal<>());
    if (!ascend || ids[k - 1] >= c.router.experts)
      fail_batch("recorded experts of row " + std::to_string(at / k / c.moe_layers()) +
                 " do not ascend, or are not among the " + std::to_string(c.router.experts));
  }
}

// What recall_routing found out in all layers of a call.
RoutingChange change_of(const PolicyConfig& c, const ForwardBatch& batch, const Scratch& scratch) {
  const std::span<const uint16_t> experts = batch.recorded.experts;
  RoutingChange out;
  if (experts.empty()) return out;
  const int64_t k = c.router.top_k, layers = c.moe_layers();
  for (size_t row = 0; row < batch.tokens.size(); ++row) {
    int64_t known = 0;
    for (int64_t l = 0; l < layers; ++l)
      known += experts[(row * layers + l) * k] != RecordedRouting::kNone;
    out.choices += known;
    out.rows += known > 0;
    out.changed_rows += scratch.rerouted[row];
  }
  out.changed_choices = scratch.reroutings;
  return out;
}

void count_choices(const Pass& pass, const LayerState& state, int64_t* counts) {
  const int experts = pass.config.router.experts;
  const OnHost<int64_t> offsets(pass.ops.device(), state.offsets.data(), experts + 1);
  for (int e = 0; e < experts; ++e) counts[e] += offsets[e + 1] - offsets[e];
}

// counts [parts, experts]
void count_by_part(const Pass& pass, const LayerState& state, int64_t* counts) {
  const PolicyConfig& c = pass.config;
  const int64_t k = c.router.top_k;
  const OnHost<int32_t> ids(pass.ops.device(), state.expert_ids.data(), pass.rows * k);
  for_parts(pass.batch, [&](int64_t part, int64_t begin, int64_t end) {
    int64_t* of_part = counts + part * c.router.experts;
    for (int64_t i = begin * k; i < end * k; ++i) ++of_part[ids[i]];
  });
}

// A score of 0 to 1 in units of 1/255; the nearest, so that nothing depends on contracted products.
uint8_t in_255ths(float score) {
  return score > 0 ? static_cast<uint8_t>(std::lrint(255 * std::min(score, 1.0f))) : 0;
}

// Writes what MoE layer `moe` chose for every row; the layout is that of Policy::forward.
void report_routing(const Pass& pass, const LayerState& state, int64_t moe, uint8_t* routing) {
  const PolicyConfig& c = pass.config;
  const int64_t m = pass.rows, experts = c.router.experts;
  const OnHost<int32_t> all_ids(pass.ops.device(), state.expert_ids.data(), m * c.router.top_k);
  const OnHost<float> all_scores(pass.ops.device(), state.scores.data(), m * experts);
  const int64_t k = c.router.top_k, all = c.moe_layers() * k;
  for (int64_t i = 0; i < m; ++i) {
    const int32_t* ids = &all_ids[i * k];
    const float* scores = &all_scores[i * experts];
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
void check_store(const Weights& weights, const ForwardBatch& batch, const ActivationStore& store,
                 std::span<const int32_t> rows, int32_t least) {
  if (!store.holds(weights)) {
    fail("the kept activations are of other weights",
         "call ActivationStore::begin with these weights");
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

// What a step of decoding depends on, apart from the values in arrays.
kernels::Stretch stretch_of(const WeightsImpl& impl, const Pass& pass, const RopeRows* local_rope) {
  const DeviceBatch& batch = pass.device;
  const kernels::DevicePages pages = pass.cache.layer(0);
  kernels::Stretch out;
  for (const int64_t number : {impl.id, pass.cache.pages(), pass.rows}) out.add(number);
  for (const At<const float> array :
       {At<const float>(pages.k), At<const float>(pages.v), pass.rope.cos, pass.rope.sin}) {
    out.add(array);
  }
  out.add(batch.tokens.data());
  out.add(batch.sequence.data());
  out.add(batch.page_table.data());
  out.add(batch.page_begin.data());
  out.add(batch.writes.data());
  out.add(pass.scratch.batch.last_rows.data());  // tells one scratch from another
  out.add(local_rope ? local_rope->cos : At<const float>());
  out.add(local_rope ? local_rope->sin : At<const float>());
  out.positions = batch.positions;
  out.longest = DecodeStep::bound_of(pass.batch);
  return out;
}

// Embedding (or the rows `inputs`), every layer by `through`, final norm. `computes`: states of gated
// delta nets, too.
// `repeats`: `through` depends on its arguments alone.
using Through = std::function<void(const Pass&, int layer, At<const float> x, LayerState& state,
                                   At<float> next)>;
void run(const WeightsImpl& impl, const ForwardBatch& rows, KvCache& cache, At<float> hidden,
         Activations::Impl* kept, int first, RouterStats* stats, uint8_t* routing, bool computes,
         bool repeats, const Through& through, At<const float> inputs = {}) {
  const Architecture& a = *impl.architecture;
  const PolicyConfig& c = a.config;
  check_batch(c, rows, cache.pages());
  if (&cache.device() != &a.ops.device()) {
    fail("forward: the cache is on device " + cache.device().name() + ", the weights on " +
             a.ops.device().name(),
         "make the cache with the operators of the weights");
  }
  if (rows.tokens.empty()) return;
  const int64_t moe_layers = c.moe_layers();
  check_recorded(c, rows);
  if (routing && c.router.experts > 256) {
    fail("routed experts of a model with " + std::to_string(c.router.experts) +
             " experts do not fit in a byte",
         "do not record experts for this model");
  }
  ScratchLease lease(a);
  Scratch& scratch = *lease;
  const bool replay = a.ops.replays() && repeats && !kept && !stats && !routing &&
                      !a.experts.exchange && !a.codes.present() && c.chunk_len == 0 &&
                      c.recurrent_layers() == 0 && DecodeStep::is_one(rows);
  const bool images = a.codes.present();
  const ForwardBatch batch = images   ? scratch.images.put(a, rows, cache.pages())
                             : replay ? scratch.batch.step.fill(rows)
                                      : rows;
  const int64_t m = static_cast<int64_t>(batch.tokens.size()), width = c.width;
  const int64_t positions = positions_used(c, batch);
  const std::shared_ptr<const RopeRows> rope = a.rope_rows(positions);
  const std::shared_ptr<const RopeRows> local_rope = a.local_rope_rows(positions);
  const DeviceBatch staged = scratch.batch.put(a.ops.device(), batch);
  Pass pass{a.ops,
            c,
            a.layout,
            impl.model,
            batch,
            staged,
            cache,
            m,
            true,
            *rope,
            rotation_of(c, batch, staged, scratch),
            scratch};
  if (c.recurrent_layers() > 0) {
    DeltaPlan plan(batch, c.delta_taps);
    plan.claim(batch, computes, cache.state_table());
    pass.delta = &scratch.delta.put(a.ops.device(), std::move(plan));
    pass.delta_scales = a.delta_scales.data();
  }
  pass.slices = slices_of(a.ops, c, batch, cache.pages() * (a.codes.guided() ? 2 : 1));
  pass.images = &a.images;
  pass.image_constants = a.image_constants.data();
  pass.local_rope = local_rope.get();
  scratch.rerouted.assign(m, 0);
  scratch.reroutings = 0;

  const bool full = kept && kept->mode == Activations::Mode::kFull;
  if (kept) {
    kept->rows = m;
    kept->weights_id = impl.id;
    kept->first = first;
    kept->resize(a.ops.device(), c.layers, full ? c.layers : 1);
    kept->choices.assign(std::max<size_t>(1, batch.parts.size()) * c.router.experts, 0);
  }
  if (stats && stats->load.empty()) {
    stats->load.assign(moe_layers, std::vector<int64_t>(c.router.experts, 0));
  }
  const auto stream = [&](int layer) {
    return kept && layer >= first ? kept->x[layer].get(m * width) : scratch.x.get(m * width);
  };
  scratch.batch.last_rows.on(a.ops.device());
  const At<float> out = images   ? scratch.images.normed(m * width)
                        : replay ? scratch.batch.last_rows.get(m * width)
                                 : hidden;
  const auto compute = [&] {
    At<float> x = stream(0);
    if (inputs) {
      a.ops.copy(inputs, x, m * width);
    } else if (images) {
      scratch.images.embed(pass, x);
    } else {
      a.ops.embedding(impl.model.embedding, width, staged.tokens.data(), x, m);
    }
    if (c.scaled_embedding && !inputs) a.ops.scale_rows(x, width, m, width, embedding_scale(c));
    for (int l = 0, moe = 0; l < c.layers; ++l) {
      LayerState& state = !kept || l < first ? scratch.layer : kept->layers[full ? l : 0];
      const At<float> next = stream(l + 1);
      through(pass, l, x, state, next);
      x = next;
      if (!c.sparse[l]) continue;
      if (kept) count_by_part(pass, state, kept->choices.data());
      if (stats) count_choices(pass, state, stats->load[moe].data());
      if (routing) report_routing(pass, state, moe, routing);
      ++moe;
    }
    a.ops.rms_norm(x, width, impl.model.final_norm.data(), c.norm_eps, out, width,
                   kept ? kept->inv_final.get(m) : At<float>(), m, width, 1, 0, c.norm_plus_one);
  };
  if (replay) {
    a.ops.replay(stretch_of(impl, pass, local_rope.get()), compute);
    a.ops.copy(out, hidden, static_cast<int64_t>(rows.tokens.size()) * width);
    return;
  }
  compute();
  if (images) scratch.images.finish(pass, out, hidden);
  if (stats) stats->change += change_of(c, batch, scratch);
}

}  // namespace

float embedding_scale(const PolicyConfig& c) {
  return static_cast<float>(std::sqrt(static_cast<double>(c.width)));
}

int64_t positions_used(const PolicyConfig& c, const ForwardBatch& batch) {
  int32_t last = 0;
  for (const int32_t position : batch.positions) last = std::max(last, position);
  return int64_t{c.chunk_len > 0 ? std::min(last, c.chunk_size) : last} + 1;
}

At<const int32_t> rotation_of(const PolicyConfig& c, const ForwardBatch& batch,
                              const DeviceBatch& staged, Scratch& scratch) {
  if (c.chunk_len == 0) return staged.positions.data();
  return scratch.chunks.own_positions(scratch.device, c, batch.positions);
}

DeviceBatch StagedBatch::put(const kernels::Device& device, const ForwardBatch& batch) {
  return {tokens_.put(device, batch.tokens),         positions_.put(device, batch.positions),
          sequence_.put(device, batch.sequence),     page_table_.put(device, batch.page_table),
          page_begin_.put(device, batch.page_begin), writes_.put(device, batch.writes)};
}

RopeRows::RopeRows(const kernels::Device& device, std::shared_ptr<const RopeTable::Rows> rows)
    : host(std::move(rows)),
      cos(staged_cos.put(device, std::span(host->cos)).data()),
      sin(staged_sin.put(device, std::span(host->sin)).data()) {}

Architecture::Architecture(const PolicyConfig& c, kernels::Element e, const kernels::Operators& o,
                           ExpertLink x, std::shared_ptr<const DraftLayer> d)
    : config(c),
      element(e),
      ops(o),
      layout(make_layout(c)),
      codes(image_codes(c)),
      images(image_layout(layout, codes)),
      image_constants(o.device()),
      rope(c.rope, c.rope_dim(), c.max_position),
      local_rope(c.local_rope ? std::make_unique<const RopeTable>(*c.local_rope, c.rope_dim(),
                                                                  c.max_position)
                              : nullptr),
      delta_scales(o.device()),
      experts(std::move(x)),
      drafts(std::move(d)),
      spare_(o.device()) {
  const std::vector<float> constants = zeroth::image_constants(c, codes);
  if (!constants.empty()) {
    const auto count = static_cast<int64_t>(constants.size());
    copy_in(o.device(), image_constants.get(count), constants.data(), count);
  }
  if (c.recurrent_layers() == 0) return;
  const auto dim = static_cast<size_t>(c.delta.key_dim);
  std::vector<float> scales(dim, static_cast<float>(1 / std::sqrt(static_cast<double>(dim))));
  scales.resize(2 * dim, 1 / static_cast<float>(dim));
  const auto n = static_cast<int64_t>(2 * dim);
  copy_in(o.device(), delta_scales.get(n), scales.data(), n);
}

Architecture::~Architecture() = default;

std::unique_ptr<Scratch> Architecture::take_scratch() const {
  std::lock_guard lock(mutex_);
  if (scratches_.empty()) return std::make_unique<Scratch>(ops.device());
  std::unique_ptr<Scratch> scratch = std::move(scratches_.back());
  scratches_.pop_back();
  return scratch;
}

void Architecture::leave_scratch(std::unique_ptr<Scratch> scratch) const {
  std::lock_guard lock(mutex_);
  scratches_.push_back(std::move(scratch));
}

kernels::Array<char> Architecture::take_block(int64_t bytes) const {
  {
    std::lock_guard lock(mutex_);
    if (spare_.bytes() == bytes) return std::exchange(spare_, kernels::Array<char>(ops.device()));
  }
  return {ops.device(), bytes};
}

void Architecture::leave_block(kernels::Array<char> block) const {
  std::lock_guard lock(mutex_);
  spare_ = std::move(block);
}

std::shared_ptr<const RopeRows> Architecture::rope_rows(int64_t positions) const {
  return staged(rope.rows(positions), rope_rows_);
}

std::shared_ptr<const RopeRows> Architecture::local_rope_rows(int64_t positions) const {
  return local_rope ? staged(local_rope->rows(positions), local_rope_rows_) : nullptr;
}

std::shared_ptr<const RopeRows> Architecture::staged(std::shared_ptr<const RopeTable::Rows> rows,
                                                     std::shared_ptr<const RopeRows>& last) const {
  std::lock_guard lock(mutex_);
  if (!last || last->host != rows) {
    last = std::make_shared<const RopeRows>(ops.device(), std::move(rows));
  }
  return last;
}

Weights::Weights(std::unique_ptr<WeightsImpl> impl) : impl_(std::move(impl)) {}
Weights::~Weights() { impl_->architecture->leave_block(std::move(impl_->model.block)); }

const PolicyConfig& Weights::config() const { return impl_->architecture->config; }
WeightsVersion Weights::version() const { return impl_->version; }
kernels::Element Weights::element() const { return impl_->architecture->element; }
const kernels::Operators& Weights::operators() const { return impl_->architecture->ops; }
int64_t Weights::id() const { return impl_->id; }
int64_t Weights::bytes() const { return impl_->model.block.bytes(); }

const std::string& Weights::sha256() const {
  std::call_once(impl_->hashed,
                 [this] { impl_->sha256 = hash_of(impl_->model, *impl_->architecture); });
  return impl_->sha256;
}

void Weights::forward(const ForwardBatch& batch, KvCache& cache, At<float> hidden,
                      const ForwardExtras& extras) const {
  ActivationStore* store = extras.store;
  if (store) check_store(*this, batch, *store, extras.store_rows, -1);
  if (store && impl_->architecture->codes.present()) {
    fail("forward: activations of a model with image codes are not kept",
         "call it without a store");
  }
  run(*impl_, batch, cache, hidden, extras.save ? &extras.save->impl() : nullptr, extras.save_from,
      extras.stats, extras.routing, true, store == nullptr,
      [&](const Pass& pass, int layer, At<const float> x, LayerState& state, At<float> next) {
        layer_forward(pass, layer, x, state, next);
        if (store) store_layer(pass, layer, state, next, *store, extras.store_rows);
      });
}

void forward_rows(const Weights& weights, const ForwardBatch& batch, KvCache& cache,
                  At<const float> x, At<float> hidden) {
  run(
      weights.impl(), batch, cache, hidden, nullptr, 0, nullptr, nullptr, true, false,
      [](const Pass& pass, int layer, At<const float> in, LayerState& state, At<float> out) {
        layer_forward(pass, layer, in, state, out);
      },
      x);
}

void Weights::recall(const ForwardBatch& batch, KvCache& cache, At<float> hidden, Activations& save,
                     RouterStats* stats, const ActivationStore& store,
                     std::span<const int32_t> store_rows) const {
  check_store(*this, batch, store, store_rows, 0);
  if (save.mode() != Activations::Mode::kFull) {
    fail("recall for activations that are computed again", "call forward when they are");
  }
  run(*impl_, batch, cache, hidden, &save.impl(), 0, stats, nullptr, false, false,
      [&](const Pass& pass, int layer, At<const float>, LayerState& state, At<float> next) {
        recall_layer(pass, layer, store, store_rows, state, next);
      });
}

void Weights::logprobs(At<const float> hidden, int64_t m, const int32_t* target,
                       const float* temperature, std::span<const kernels::KeptSet> kept,
                       float* logprob, float* entropy) const {
  if (impl_->architecture->codes.present()) {
    ScratchLease lease(*impl_->architecture);
    (*lease).heads.logprobs(*impl_, hidden, m, target, temperature, kept, logprob, entropy);
    return;
  }
  operators().head_logprobs(hidden, config().width, impl_->model.head, target, temperature, kept,
                            logprob, entropy, nullptr, m, config().logit_cap);
}

void Weights::sample(At<const float> hidden, int64_t m, const kernels::SampleParams* params,
                     const StreamKey* keys, const uint32_t* position, int32_t* token,
                     float* logprob, float* entropy, std::vector<int32_t>* kept) const {
  if (impl_->architecture->codes.present()) {
    ScratchLease lease(*impl_->architecture);
    (*lease).heads.sample(*impl_, hidden, m, params, keys, position, token, logprob, entropy, kept);
    return;
  }
  operators().head_sample(hidden, config().width, impl_->model.head, params, keys, position, token,
                          logprob, entropy, kept, m, config().logit_cap);
}

void Weights::logits(At<const float> hidden, int64_t m, At<float> out) const {
  if (impl_->architecture->codes.present()) {
    ScratchLease lease(*impl_->architecture);
    (*lease).heads.logits(*impl_, hidden, m, out);
    return;
  }
  operators().head_logits(hidden, config().width, impl_->model.head, out, m, config().logit_cap);
}

}  // namespace zeroth
