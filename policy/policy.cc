#include "policy/policy.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "model/formats/checkpoint.h"
#include "policy/decoder.h"
#include "policy/embedding_gradient.h"

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

void Activations::Impl::resize(const kernels::Device& on, int count, int states) {
  if (device != &on) {  // nothing of another device's is kept
    x.clear();
    layers.clear();
    inv_final.on(on);
    device = &on;
  }
  x.resize(count + 1);
  for (Floats& rows : x) rows.on(on);
  layers.resize(states);
  for (LayerState& state : layers) state.on(on);
}

struct Policy::Impl {
  std::shared_ptr<const Architecture> architecture;
  Parameters parameters;
  mutable std::mutex mutex;  // guards `weights`
  WeightsPtr weights;
  std::vector<FloatRanges> expert_masters;  // by rank, where each has its share
  FloatRanges distant;                      // those of the others

  Impl(const PolicyConfig& config, kernels::Element element, const kernels::Operators& ops,
       std::shared_ptr<ExpertExchange> experts)
      : architecture(
            std::make_shared<const Architecture>(config, element, ops, join(std::move(experts)))),
        parameters(architecture->layout.infos) {
    if (ExpertExchange* exchange = architecture->experts.exchange.get()) {
      const int all = config.router.experts;
      for (int r = 0; r < exchange->size(); ++r) {
        expert_masters.push_back(expert_floats(architecture->layout, exchange->begin_of(all, r),
                                               exchange->end_of(all, r)));
        if (r == exchange->rank()) continue;
        distant.insert(distant.end(), expert_masters.back().begin(), expert_masters.back().end());
      }
      distant = united(std::move(distant));
      exchange->host(architecture->experts.model,
                     {[this] { return current(); }, [this] { return parameters.values(); }});
    }
  }
  ~Impl() {
    if (ExpertExchange* exchange = architecture->experts.exchange.get())
      exchange->host(architecture->experts.model, {});
  }
  static ExpertLink join(std::shared_ptr<ExpertExchange> experts) {
    const int model = experts ? experts->add_model() : 0;
    return {std::move(experts), model};
  }
  WeightsPtr current() const {
    std::lock_guard lock(mutex);
    return weights;
  }
};

Policy::Policy() = default;
Policy::~Policy() = default;

std::unique_ptr<Policy> Policy::load(const std::filesystem::path& path, kernels::Element element,
                                     const kernels::Operators& ops,
                                     std::shared_ptr<ExpertExchange> experts) {
  const OpenModel model = open_model(path);
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(model.config, element, ops, std::move(experts));
  Impl& impl = *policy->impl_;
  impl.weights = publish_from(impl.architecture, *model.source, impl.parameters.values().data(), 0);
  return policy;
}

WeightsPtr load_weights(const std::filesystem::path& path, kernels::Element element,
                        const kernels::Operators& ops) {
  const OpenModel model = open_model(path);
  return publish_from(std::make_shared<const Architecture>(model.config, element, ops),
                      *model.source, nullptr, 0);
}

std::unique_ptr<Policy> Policy::init(const PolicyConfig& config, uint64_t seed,
                                     kernels::Element element, const kernels::Operators& ops,
                                     std::shared_ptr<ExpertExchange> experts) {
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(config, element, ops, std::move(experts));
  initialize(config, seed, policy->impl_->parameters, policy->impl_->distant);
  policy->publish(0);
  return policy;
}

const PolicyConfig& Policy::config() const { return impl_->architecture->config; }
const kernels::Operators& Policy::operators() const { return impl_->architecture->ops; }
Parameters& Policy::parameters() { return impl_->parameters; }
const Parameters& Policy::parameters() const { return impl_->parameters; }

WeightsPtr Policy::publish(WeightsVersion version,
                           const std::function<void(int64_t end)>& arrived) {
  std::lock_guard lock(impl_->mutex);
  impl_->weights = nullptr;  // unless somebody reads them, their memory is that of the next
  impl_->weights =
      publish_values(impl_->architecture, impl_->parameters.values().data(), version, arrived);
  return impl_->weights;
}

WeightsPtr Policy::weights() const { return impl_->current(); }

ExpertExchange* Policy::experts() const { return impl_->architecture->experts.exchange.get(); }
std::vector<FloatRanges> Policy::expert_masters() const { return impl_->expert_masters; }

FloatRanges Policy::own_masters() const {
  return without({{0, static_cast<int64_t>(parameters().values().size())}}, impl_->distant);
}

void Policy::read_masters(int64_t begin, std::span<float> out) const {
  const FloatRanges all = {{begin, begin + static_cast<int64_t>(out.size())}};
  const auto part = [&](const FloatRange& range) {
    return out.subspan(range.begin - begin, range.end - range.begin);
  };
  for (const FloatRange& range : without(all, impl_->distant))
    std::copy_n(parameters().values().begin() + range.begin, range.end - range.begin,
                part(range).begin());
  const ExpertLink& link = impl_->architecture->experts;
  for (size_t r = 0; r < impl_->expert_masters.size(); ++r) {
    if (static_cast<int>(r) == link.exchange->rank()) continue;
    for (const FloatRange& range : common(all, impl_->expert_masters[r]))
      link.exchange->read_masters(link.model, static_cast<int>(r), range.begin, part(range));
  }
}

int Policy::first_trainable_layer() const {
  int first = config().layers;
  bool in_front = true;  // of all layers: what the input is made of
  for (const ParameterInfo& info : impl_->parameters.infos()) {
    in_front = in_front && info.layer < 0;
    if (!info.trainable) continue;
    if (in_front) return -1;
    if (info.layer >= 0) first = std::min(first, info.layer);
  }
  return first;
}

void Policy::forward(const ForwardBatch& batch, KvCache& cache, At<float> hidden, Activations* save,
                     RouterStats* stats) const {
  ForwardExtras extras{.save = save, .stats = stats};
  if (save) extras.save_from = first_trainable_layer();
  weights()->forward(batch, cache, hidden, extras);
}

void Policy::backward(const ForwardBatch& rows, const KvCache& cache, Activations& saved,
                      At<float> dhidden, View<float> grads, std::span<const float> aux_coefs,
                      EmbeddingGradient* apart,
                      const std::function<void(int layer)>& complete) const {
  const Architecture& a = *impl_->architecture;
  const PolicyConfig& c = a.config;
  const WeightsPtr weights = this->weights();
  Activations::Impl& kept = saved.impl();
  ScratchLease lease(a);
  Scratch& s = *lease;
  const bool images = a.codes.present();
  const ForwardBatch batch = images ? s.images.put(a, rows, cache.pages()) : rows;
  const int64_t m = static_cast<int64_t>(batch.tokens.size()), width = c.width;
  if (kept.rows != m) {
    fail("backward of " + std::to_string(m) + " rows after a forward of " +
             std::to_string(kept.rows),
         "call backward with the batch and activations of the last forward");
  }
  if (kept.weights_id != weights->id()) {
    fail("backward by other weights than those of forward",
         "publish after backward, or run forward again");
  }
  const int first = first_trainable_layer();
  if (kept.first > std::max(first, 0)) {
    fail("backward of layers that forward has not kept",
         "freeze or release parameters before forward");
  }
  if (grads.size() != impl_->parameters.values().size()) {
    fail("the gradient buffer has " + std::to_string(grads.size()) + " values for " +
             std::to_string(impl_->parameters.values().size()) + " parameters",
         "make it as long as parameters().values()");
  }
  kept.rows = 0;  // layer inputs are overwritten below
  if (m == 0) return;
  const PublishedModel& model = weights->impl().model;
  s.page_list.assign(batch.page_table.begin(), batch.page_table.end());
  std::sort(s.page_list.begin(), s.page_list.end());
  s.page_list.erase(std::unique(s.page_list.begin(), s.page_list.end()), s.page_list.end());
  const int64_t positions = positions_used(c, batch);
  const std::shared_ptr<const RopeRows> rope = a.rope_rows(positions);
  const std::shared_ptr<const RopeRows> local_rope = a.local_rope_rows(positions);
  const DeviceBatch staged = s.batch.put(a.ops.device(), batch);
  const DeltaCall* delta = nullptr;
  if (c.recurrent_layers() > 0) {
    DeltaPlan plan(batch, c.delta_taps);
    plan.look_up(batch, cache.state_table());
    delta = &s.delta.put(a.ops.device(), std::move(plan));
  }
  const Pass pass{.ops = a.ops,
                  .config = c,
                  .layout = a.layout,
                  .model = model,
                  .batch = batch,
                  .device = staged,
                  .cache = cache,
                  .rows = m,
                  .write_cache = false,
                  .rope = *rope,
                  .rope_positions = rotation_of(c, batch, staged, s),
                  .scratch = s,
                  .grads = grads.data(),
                  .pages = s.pages.put(a.ops.device(), std::span(std::as_const(s.page_list))),
                  .local_rope = local_rope.get(),
                  .delta = delta,
                  .delta_scales = a.delta_scales.data(),
                  .images = &a.images,
                  .image_constants = a.image_constants.data()};

  std::vector<float> aux;  // [parts, experts]
  if (!aux_coefs.empty() && c.is_moe()) {
    const int64_t experts = c.router.experts;
    for_parts(batch, [&](int64_t part, int64_t begin, int64_t end) {
      const double rows = static_cast<double>(end - begin) * c.moe_layers();
      for (int64_t e = 0; e < experts; ++e) {
        const auto n = static_cast<double>(kept.choices[part * experts + e]);
        aux.push_back(
            static_cast<float>(aux_coefs[part] * static_cast<double>(experts) * (n / rows) / rows));
      }
    });
  }
  const At<float> dx = s.dx.get(m * width);
  At<float> dnormed = dhidden;
  if (images) {
    dnormed = s.images.normed(m * width);
    s.images.finish_backward(pass, kept.x[c.layers].data(), dhidden, dnormed);
  }
  a.ops.rms_norm_backward(dnormed, width, kept.x[c.layers].data(), width, model.final_norm.data(),
                          kept.inv_final.data(), dx, width, grads.data() + a.layout.final_norm, m,
                          width, false, 1, batch.parts, c.norm_plus_one);
  const bool full = kept.mode == Activations::Mode::kFull;
  for (int l = c.layers - 1; l >= std::max(first, 0); --l) {
    LayerState& state = kept.layers[full ? l : 0];
    // The recomputed layer's output is not wanted: it goes where the next layer's spent input was.
    if (!full) layer_forward(pass, l, kept.x[l].data(), state, kept.x[l + 1].data());
    layer_backward(pass, l, kept.x[l].data(), state, dx, aux.empty() ? nullptr : aux.data());
    if (complete) complete(l);
  }
  if (first >= 0) return;
  if (c.scaled_embedding) a.ops.scale_rows(dx, width, m, width, embedding_scale(c));
  if (images) return s.images.embed_backward(pass, dx, apart);
  if (apart && model.tied) return apart->add(dx, batch.tokens, width, c.vocab_size);
  a.ops.embedding_backward(dx, staged.tokens.data(), grads.data() + a.layout.embedding, m, width,
                           c.vocab_size);
}

void Policy::logprobs_backward(At<const float> hidden, int64_t m, const int32_t* target,
                               const float* temperature, std::span<const kernels::KeptSet> kept,
                               const float* dlogprob, const float* dentropy, At<float> dhidden,
                               View<float> grads, kernels::RowParts parts) const {
  const int64_t width = config().width, head = impl_->architecture->layout.head.weight;
  const WeightsPtr weights = this->weights();
  if (impl_->architecture->codes.present()) {
    ScratchLease lease(*impl_->architecture);
    (*lease).heads.backward(weights->impl(), hidden, m, target, temperature, kept, dlogprob,
                            dentropy, dhidden, grads.data(), parts);
    return;
  }
  operators().head_backward(hidden, width, weights->impl().model.head, target, temperature, kept,
                            dlogprob, dentropy, dhidden, width, grads.data() + head, m, parts,
                            config().logit_cap);
}

void Policy::save(const std::filesystem::path& dir, const SaveOptions& options) const {
  const Parameters& values = parameters();
  const auto read = [&](const ParameterInfo& info,
                        std::vector<float>& room) -> std::span<const float> {
    if (common({{info.offset, info.offset + info.count}}, impl_->distant).empty())
      return values.view(info);
    room.resize(info.count);
    read_masters(info.offset, room);
    return room;
  };
  write_checkpoint(dir, config(), values.infos(), read, options);
}

}  // namespace zeroth
