#include "policy/draft_layer.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "core/error.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_model.h"
#include "model/formats/model_folder.h"
#include "model/formats/safetensors.h"
#include "policy/decoder.h"
#include "policy/published.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

using kernels::At;
using kernels::View;

constexpr const char* kEmbedding = "embed_tokens.weight";
constexpr const char* kHead = "shared_head.head.weight";
constexpr const char* kHeadNorm = "shared_head.norm.weight";
constexpr const char* kEmbeddingNorm = "enorm.weight";
constexpr const char* kHiddenNorm = "hnorm.weight";
constexpr const char* kProjection = "eh_proj.weight";

// A model of this one layer, as the last of `model` is, under the file's names.
PolicyConfig layer_config(const PolicyConfig& model, const std::string& prefix) {
  PolicyConfig c = model;
  c.layers = 1;
  c.extra_layers = 0;
  c.tied_embeddings = true;
  for (auto* of : {&c.sparse, &c.recurrent, &c.rotated}) *of = {of->back()};
  c.window = {c.window.back()};
  c.names = {};
  for (const char* own : {kEmbedding, kHead, kEmbeddingNorm, kHiddenNorm, kProjection})
    c.names.push_back({prefix + own, std::nullopt});
  c.names.push_back({prefix + kHeadNorm, "model.norm.weight"});
  c.names.push_back({prefix, "model.layers.0."});
  c.names.push_back({"model.embed_tokens.", "model.embed_tokens."});
  return c;
}

// The layer's parameters without tables, which are the model's.
class LayerSource : public WeightSource {
 public:
  explicit LayerSource(const Checkpoint& file) : file_(file) {}
  void read(size_t i, int64_t first, std::span<float> out) const override {
    if (i == 0) return std::fill(out.begin(), out.end(), 0.0f);
    file_.read(i, first, out);
  }
  uint64_t place(size_t i) const override { return file_.place(i); }

 private:
  const Checkpoint& file_;
};

}  // namespace

struct DraftLayer::Impl {
  std::string where, prefix;
  PolicyConfig config;
  std::unique_ptr<Checkpoint> block;  // the decoder block and the head's norm
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  std::map<std::string, std::pair<const SafetensorsFile*, const TensorEntry*>> stored;
  std::vector<Tensor> tensors;
  std::string damage;  // what collect() did not like; empty: nothing
  // Made when it is first used.
  std::once_flag made;
  WeightsPtr weights;
  kernels::Array<float> norms, packed;
  kernels::PackedMatrix projection;

  void read(const std::string& name, std::span<float> out) const {
    const auto& [file, entry] = stored.at(prefix + name);
    file->read(*entry, 0, out);
  }
  void check(const std::string& name, const std::vector<int64_t>& shape) const {
    const auto found = stored.find(prefix + name);
    if (found == stored.end()) {
      fail(where + " lacks tensor '" + prefix + name + "' of its layer for multi-token prediction",
           "fetch the files again");
    }
    const TensorEntry& entry = *found->second.second;
    if (entry.shape != shape || entry.dtype == DType::kOther || entry.dtype == DType::kF8E4M3) {
      fail(where + ": tensor '" + prefix + name + "' has another shape or type than its model's",
           "the weights do not belong to this config.json");
    }
  }
  void collect(const fs::path& dir, const PolicyConfig& model);
  void make(const Weights& of);
};

// The tensors behind `prefix`, in the order of their names.
void DraftLayer::Impl::collect(const fs::path& dir, const PolicyConfig& model) {
  std::vector<std::string> notes;
  for (const std::string& name : find_weight_files(dir, notes).files) {
    auto file = std::make_unique<SafetensorsFile>(dir / name);
    bool used = false;
    for (const TensorEntry& entry : file->tensors()) {
      if (!entry.name.starts_with(prefix)) continue;
      stored[entry.name] = {file.get(), &entry};
      used = true;
    }
    if (used) files.push_back(std::move(file));
  }
  if (stored.empty()) return;
  const int64_t width = model.width;
  for (const char* norm : {kEmbeddingNorm, kHiddenNorm, kHeadNorm}) check(norm, {width});
  check(kProjection, {width, 2 * width});
  for (const char* table : {kEmbedding, kHead}) {
    if (stored.contains(prefix + table)) check(table, {model.vocab_size, width});
  }
  block = std::make_unique<Checkpoint>(dir, layer_config(model, prefix));
  config = block->config();
  config.vocab_size = 1;  // its tables are the model's
  // The block under the names of this folder, float8 widened; then what is beside it.
  const std::vector<ParameterInfo> infos = make_layout(block->config()).infos;
  for (const ParameterInfo& info : infos) {
    constexpr std::string_view kBlock = "model.layers.0.";
    if (!info.name.starts_with(kBlock)) continue;
    Tensor tensor{info};
    tensor.info.name = prefix + info.name.substr(kBlock.size());
    tensors.push_back(std::move(tensor));
  }
  for (const char* name :
       {kEmbeddingNorm, kHiddenNorm, kProjection, kHeadNorm, kEmbedding, kHead}) {
    const auto found = stored.find(prefix + name);
    if (found == stored.end()) continue;
    Tensor tensor;
    tensor.info.name = found->first;
    tensor.info.shape = found->second.second->shape;
    tensor.info.count = found->second.second->count();
    if (name == kEmbedding) tensor.shared = Tensor::Shared::kEmbedding;
    if (name == kHead) tensor.shared = Tensor::Shared::kHead;
    tensors.push_back(std::move(tensor));
  }
}

DraftLayer::DraftLayer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DraftLayer::~DraftLayer() = default;

std::shared_ptr<const DraftLayer> DraftLayer::open(const fs::path& path,
                                                   const PolicyConfig& model) {
  if (!facts_of(model.family).extra_layers || model.recurrent_layers() > 0 || is_gguf(path) ||
      !fs::is_regular_file(path / "config.json"))
    return nullptr;
  auto impl = std::make_unique<Impl>();
  impl->where = path.string();
  impl->prefix = "model.layers." + std::to_string(model.layers) + ".";
  try {
    impl->collect(path, model);
  } catch (const Error& error) {
    // Nothing but drafts needs it, so the model is read all the same.
    impl->damage = error.what();
    impl->tensors.clear();
  }
  if (impl->stored.empty()) return nullptr;
  return std::shared_ptr<const DraftLayer>(new DraftLayer(std::move(impl)));
}

void DraftLayer::check() const {
  if (!impl_->damage.empty()) throw Error(ExitCode::kFailed, impl_->damage, "");
}

const std::vector<DraftLayer::Tensor>& DraftLayer::tensors() const { return impl_->tensors; }

void DraftLayer::read(size_t i, std::span<float> out) const {
  const std::vector<ParameterInfo> infos = make_layout(impl_->block->config()).infos;
  const std::string& name = impl_->tensors[i].info.name;
  const std::string own = "model.layers.0." + name.substr(impl_->prefix.size());
  for (size_t at = 0; at < infos.size(); ++at) {
    if (infos[at].name == own) return impl_->block->read(at, 0, out);
  }
  impl_->read(name.substr(impl_->prefix.size()), out);
}

const PolicyConfig& DraftLayer::config() const { return impl_->config; }

void DraftLayer::Impl::make(const Weights& of) {
  const kernels::Operators& ops = of.operators();
  const auto architecture = std::make_shared<const Architecture>(config, of.element(), ops);
  weights = publish_from(architecture, LayerSource(*block), nullptr, 0);
  const int64_t width = config.width;
  std::vector<float> values(static_cast<size_t>(2 * width * width));
  norms.on(ops.device());
  const At<float> to = norms.get(2 * width);
  read(kEmbeddingNorm, std::span(values).first(width));
  copy_in(ops.device(), to, values.data(), width);
  read(kHiddenNorm, std::span(values).first(width));
  copy_in(ops.device(), to + width, values.data(), width);
  read(kProjection, values);
  packed.on(ops.device());
  projection.place(width, 2 * width, of.element(),
                   packed.get(ops.packed_floats(width, 2 * width, of.element())));
  ops.pack_rows(projection, 0, width, values.data(), 2 * width);
}

void DraftLayer::forward(const Weights& of, const ForwardBatch& batch, At<const float> hidden,
                         KvCache& cache, Room& room, At<float> out) const {
  Impl& impl = *impl_;
  std::call_once(impl.made, [&] { impl.make(of); });
  const kernels::Operators& ops = of.operators();
  const auto m = static_cast<int64_t>(batch.tokens.size());
  const int64_t width = config().width;
  const PolicyConfig& c = of.config();
  for (kernels::Array<float>* array : {&room.embedded, &room.joined, &room.input})
    array->on(ops.device());
  const At<float> embedded = room.embedded.get(m * width);
  const At<float> joined = room.joined.get(m * 2 * width);
  const At<float> input = room.input.get(m * width);
  const View<const int32_t> ids = room.ids.put(ops.device(), batch.tokens);
  ops.embedding(of.impl().model.embedding, width, ids.data(), embedded, m);
  if (c.scaled_embedding) ops.scale_rows(embedded, width, m, width, embedding_scale(c));
  const At<const float> norms = impl.norms.data();
  ops.rms_norm(embedded, width, norms, c.norm_eps, joined, 2 * width, {}, m, width, 1, 0,
               c.norm_plus_one);
  ops.rms_norm(hidden, width, norms + width, c.norm_eps, joined + width, 2 * width, {}, m, width, 1,
               0, c.norm_plus_one);
  ops.linear(joined, 2 * width, impl.projection, {}, input, width, m);
  room.zeros.assign(static_cast<size_t>(m), 0);  // ids of the layer's own table, which none reads
  ForwardBatch rows = batch;
  rows.tokens = room.zeros;
  forward_rows(*impl.weights, rows, cache, input, out);
}

void DraftLayer::guess(const Weights& of, At<const float> rows, std::span<TokenId> tokens) {
  const size_t m = tokens.size();
  if (m == 0) return;
  const std::vector<kernels::SampleParams> greedy(m, {.temperature = 0});
  const std::vector<StreamKey> keys(m);
  const std::vector<uint32_t> positions(m, 0);
  std::vector<float> logprobs(m), entropies(m);
  of.sample(rows, static_cast<int64_t>(m), greedy.data(), keys.data(), positions.data(),
            tokens.data(), logprobs.data(), entropies.data(), nullptr);
}

const DraftLayer* draft_layer_of(const Weights& weights) {
  const DraftLayer* layer = weights.impl().architecture->drafts.get();
  if (layer != nullptr) layer->check();
  return layer;
}

}  // namespace zeroth
