#include "policy/policy.h"

#include <algorithm>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/error.h"
#include "core/parallel.h"
#include "model/formats/checkpoint.h"
#include "policy/decoder.h"
#include "policy/draft_layer.h"
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

namespace {

// A base's values, with an adapter merged into them; exact() ones are the masters'.
class MergedSource : public WeightSource {
 public:
  MergedSource(const Parameters& masters, std::shared_ptr<const FrozenBase> base,
               std::shared_ptr<const LoraAdapter> adapter)
      : masters_(masters), base_(std::move(base)), adapter_(std::move(adapter)) {}

  void read(size_t i, int64_t first, std::span<float> out) const override {
    const ParameterInfo& info = masters_.infos()[i];
    const int64_t offset = info.offset + first;
    if (info.exact()) {
      std::copy_n(masters_.values().begin() + offset, out.size(), out.begin());
      return;
    }
    base_->read(i, first, out);
    if (!adapter_) return;
    if (const LoraPair* pair = adapter_->find(offset))
      adapter_->add_rows(*pair, (offset - pair->matrix.weight) / pair->matrix.in, out);
  }
  uint64_t place(size_t i) const override { return base_->place(i); }

 private:
  const Parameters& masters_;
  std::shared_ptr<const FrozenBase> base_;
  std::shared_ptr<const LoraAdapter> adapter_;
};

// Floats [begin, begin + out.size()) of the flat buffer whose values `source` has; zeros between
// tensors. A source reads whole rows.
void read_flat(const std::vector<ParameterInfo>& infos, const WeightSource& source, int64_t begin,
               std::span<float> out) {
  std::fill(out.begin(), out.end(), 0.0f);
  const int64_t end = begin + static_cast<int64_t>(out.size());
  for (size_t i = 0; i < infos.size(); ++i) {
    const ParameterInfo& info = infos[i];
    const int64_t from = std::max(begin, info.offset) - info.offset;
    const int64_t to = std::min(end, info.offset + info.count) - info.offset;
    if (from >= to) continue;
    const int64_t row = info.shape.size() > 1 ? info.count / info.shape[0] : 1;
    const int64_t first = from / row, last = (to + row - 1) / row;
    const int64_t step = std::max<int64_t>(1, kReadPiece / row);
    parallel_in_order((last - first + step - 1) / step, [&](int64_t piece) {
      const int64_t at = (first + piece * step) * row;
      const int64_t stop = std::min(last, first + (piece + 1) * step) * row;
      std::vector<float> rows(static_cast<size_t>(stop - at));
      source.read(i, at, rows);
      const int64_t a = std::max(at, from), b = std::min(stop, to);
      std::copy(rows.begin() + (a - at), rows.begin() + (b - at),
                out.begin() + (info.offset + a - begin));
    });
  }
}

}  // namespace

struct Policy::Impl {
  std::shared_ptr<const Architecture> architecture;
  Parameters parameters;
  std::shared_ptr<FrozenBase> base;  // in place of masters
  bool shared_base = false;
  std::unique_ptr<const WeightSource> merged;  // with a base: what is published
  mutable std::mutex mutex;                    // guards `weights`
  WeightsPtr weights;
  std::vector<FloatRanges> expert_masters;  // by rank, where each has its share
  FloatRanges distant;                      // those of the others

  explicit Impl(std::shared_ptr<const Architecture> a)
      : architecture(std::move(a)), parameters(architecture->layout.infos) {}
  Impl(const PolicyConfig& config, kernels::Element element, const kernels::Operators& ops,
       std::shared_ptr<ExpertExchange> experts, std::shared_ptr<const DraftLayer> drafts = nullptr)
      : architecture(std::make_shared<const Architecture>(
            config, element, ops, join(std::move(experts)), std::move(drafts))),
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
  void take(std::shared_ptr<FrozenBase> values, std::shared_ptr<const LoraAdapter> adapter) {
    base = std::move(values);
    merged = std::make_unique<MergedSource>(parameters, base, std::move(adapter));
  }
  void take_exact(const WeightSource& source) {
    const auto& infos = parameters.infos();
    for (size_t i = 0; i < infos.size(); ++i) {
      if (infos[i].exact()) source.read(i, 0, parameters.view(infos[i]));
    }
  }
};

Policy::Policy() = default;
Policy::~Policy() = default;

std::unique_ptr<Policy> Policy::load(const std::filesystem::path& path, kernels::Element element,
                                     const kernels::Operators& ops,
                                     std::shared_ptr<ExpertExchange> experts) {
  const OpenModel model = open_model(path);
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(model.config, element, ops, std::move(experts),
                                         DraftLayer::open(path, model.config));
  Impl& impl = *policy->impl_;
  impl.weights = publish_from(impl.architecture, *model.source, impl.parameters.values().data(), 0);
  return policy;
}

WeightsPtr load_weights(const std::filesystem::path& path, kernels::Element element,
                        const kernels::Operators& ops) {
  const OpenModel model = open_model(path);
  return publish_from(std::make_shared<const Architecture>(model.config, element, ops, ExpertLink(),
                                                           DraftLayer::open(path, model.config)),
                      *model.source, nullptr, 0);
}

std::unique_ptr<Policy> Policy::load_frozen(const std::filesystem::path& path, BaseBits bits,
                                            kernels::Element element,
                                            const kernels::Operators& ops) {
  const OpenModel model = open_model(path);
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(std::make_shared<const Architecture>(
      model.config, element, ops, ExpertLink(), DraftLayer::open(path, model.config)));
  Impl& impl = *policy->impl_;
  impl.take(std::make_shared<FrozenBase>(impl.architecture->layout.infos, bits, *model.source),
            nullptr);
  impl.take_exact(*impl.base);
  policy->publish(0);
  return policy;
}

std::unique_ptr<Policy> Policy::over(const Policy& other, std::shared_ptr<FrozenBase> base) {
  if (other.experts() != nullptr)
    fail("a base of experts that are elsewhere", "leave ranks.expert_parallel out");
  std::unique_ptr<Policy> policy(new Policy);
  policy->impl_ = std::make_unique<Impl>(other.impl_->architecture);
  policy->impl_->take(std::move(base), nullptr);
  policy->impl_->shared_base = true;
  policy->impl_->take_exact(*policy->impl_->base);
  policy->publish(0);
  return policy;
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
  if (impl_->base) {
    // The adapter has arrived as a whole, before it could be merged.
    if (arrived) arrived(static_cast<int64_t>(impl_->parameters.values().size()));
    impl_->weights = publish_from(impl_->architecture, *impl_->merged, nullptr, version);
    return impl_->weights;
  }
  impl_->weights =
      publish_values(impl_->architecture, impl_->parameters.values().data(), version, arrived);
  return impl_->weights;
}

WeightsPtr Policy::weights() const { return impl_->current(); }

const std::shared_ptr<FrozenBase>& Policy::base() const { return impl_->base; }
bool Policy::shares_base() const { return impl_->shared_base; }

void Policy::freeze(BaseBits bits) {
  if (experts() != nullptr)
    fail("a base of experts that are elsewhere", "leave ranks.expert_parallel out");
  const std::vector<ParameterInfo> infos = impl_->parameters.infos();
  auto base = std::make_shared<FrozenBase>(infos, bits);
  base->fill(*flat_source(infos, std::as_const(impl_->parameters).values()));
  impl_->parameters = Parameters(infos);  // what learns stays what it is
  impl_->take(std::move(base), nullptr);
  impl_->take_exact(*impl_->base);
}

void Policy::adapt(std::shared_ptr<const LoraAdapter> adapter) {
  if (!impl_->base) fail("an adapter over masters", "freeze() them first");
  impl_->take(impl_->base, std::move(adapter));
}

const WeightSource& Policy::merged() const {
  if (!impl_->merged) fail("a policy with masters has no base");
  return *impl_->merged;
}

void Policy::take_exact(const WeightSource& source) { impl_->take_exact(source); }

void Policy::withdraw() {
  std::lock_guard lock(impl_->mutex);
  impl_->weights = nullptr;
}

ExpertExchange* Policy::experts() const { return impl_->architecture->experts.exchange.get(); }
std::vector<FloatRanges> Policy::expert_masters() const { return impl_->expert_masters; }

FloatRanges Policy::own_masters() const {
  return without({{0, static_cast<int64_t>(parameters().values().size())}}, impl_->distant);
}

void Policy::read_masters(int64_t begin, std::span<float> out) const {
  if (impl_->base) return read_flat(parameters().infos(), *impl_->merged, begin, out);
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
    if (!impl_->base && common({{info.offset, info.offset + info.count}}, impl_->distant).empty())
      return values.view(info);
    room.resize(info.count);
    read_masters(info.offset, room);
    return room;
  };
  const DraftLayer* drafts = impl_->architecture->drafts.get();
  if (drafts == nullptr) return write_checkpoint(dir, config(), values.infos(), read, options);
  // The layer for multi-token prediction stays as it was; its tables are the model's.
  std::vector<ParameterInfo> infos = values.infos();
  const size_t own = infos.size();
  for (const DraftLayer::Tensor& tensor : drafts->tensors()) infos.push_back(tensor.info);
  const auto read_any = [&](const ParameterInfo& info,
                            std::vector<float>& room) -> std::span<const float> {
    const size_t i = static_cast<size_t>(&info - infos.data());
    if (i < own) return read(info, room);
    const DraftLayer::Tensor& tensor = drafts->tensors()[i - own];
    const Layout& layout = impl_->architecture->layout;
    room.resize(static_cast<size_t>(info.count));
    if (tensor.shared == DraftLayer::Tensor::Shared::kNo) {
      drafts->read(i - own, room);
    } else {
      const bool head = tensor.shared == DraftLayer::Tensor::Shared::kHead;
      read_masters(head ? layout.head.weight : layout.embedding, room);
    }
    return room;
  };
  write_checkpoint(dir, config(), infos, read_any, options);
}

}  // namespace zeroth
