#include "policy/activation_store.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "policy/decoder.h"

namespace zeroth {
namespace {

constexpr int64_t kBlockBytes = 32 << 20;  // memory is taken in pieces of about this size
constexpr int64_t kLine = 64;

using kernels::SavedArray;

// What layer_forward leaves for `m` rows: its output and its state. First the arrays of whole cache
// lines, which can be streamed, then the others.
std::vector<SavedArray> arrays_of(const PolicyConfig& c, const LayerWidths& widths,
                                  LayerState& state, At<float> x_out, int64_t m) {
  std::vector<SavedArray> out = {
      {x_out.as<char>(), c.width * static_cast<int64_t>(sizeof(float)), SavedOrder::kRow}};
  state.each(widths, [&](const SavedField& field, auto& member) {
    if (field.width == 0) return;
    const int64_t rows = field.order == SavedOrder::kChoice ? m * widths.choices : m;
    const auto data = member.get(rows * field.width);
    constexpr int64_t kBytes = sizeof(typename decltype(data)::Value);
    out.push_back({data.template as<char>(), field.width * kBytes, field.order});
  });
  std::stable_partition(out.begin(), out.end(), [](const SavedArray& a) { return a.in_lines(); });
  return out;
}

int64_t layer_bytes(const PolicyConfig& c, const LayerWidths& widths) {
  LayerState none;
  return kernels::saved_bytes(arrays_of(c, widths, none, {}, 0), c.router.top_k);
}

LayerWidths widths_of(const PolicyConfig& c, const PublishedModel& model, int layer) {
  return {c, layer, model.exchange != nullptr};
}

// Where a layer's part of every row begins; nowhere for -1.
std::vector<At<char>> places_of(const ActivationStore& store, int layer,
                                std::span<const int32_t> rows) {
  std::vector<At<char>> places;
  places.reserve(rows.size());
  for (const int32_t row : rows)
    places.push_back(row < 0 ? At<char>() : store.row(row) + store.layer_begin(layer));
  return places;
}

View<const int32_t> order_of(const PolicyConfig& c, const LayerState& state, int64_t m) {
  return {state.order.data(), static_cast<size_t>(m * c.router.top_k)};
}

}  // namespace

ActivationStore::ActivationStore(int64_t max_bytes) : max_bytes_(max_bytes) {}
ActivationStore::~ActivationStore() = default;

void ActivationStore::begin(const Weights& weights) {
  static std::atomic<int64_t> epochs{0};
  const PolicyConfig& c = weights.config();
  std::vector<int64_t> begin = {0};
  for (int l = 0; l < c.layers; ++l)
    begin.push_back(begin.back() + layer_bytes(c, widths_of(c, weights.impl().model, l)));
  if (begin.back() != row_bytes() || device_ != &weights.operators().device()) blocks_.clear();
  device_ = &weights.operators().device();
  layer_begin_ = std::move(begin);
  block_rows_ = std::max<int64_t>(1, std::min(kBlockBytes, max_bytes_) / row_bytes());
  rows_ = 0;
  weights_id_ = weights.id();
  epoch_ = ++epochs;
}

bool ActivationStore::holds(const Weights& weights) const { return weights_id_ == weights.id(); }

int64_t ActivationStore::block_bytes() const {
  constexpr int64_t kLarge = kLargePage;
  const int64_t used = block_rows_ * row_bytes(), unit = used < kLarge ? kLine : kLarge;
  return (used + unit - 1) / unit * unit;
}

int64_t ActivationStore::bytes() const {
  return static_cast<int64_t>(blocks_.size()) * block_bytes();
}

int32_t ActivationStore::take() {
  if (rows_ == static_cast<int64_t>(blocks_.size()) * block_rows_) {
    const int64_t block = block_bytes();
    if (bytes() + block > max_bytes_ || rows_ + block_rows_ > INT32_MAX) return -1;
    // Neighbours in a training batch lie far apart here: large pages spare the walks to them.
    blocks_.emplace_back(*device_, block);
  }
  return static_cast<int32_t>(rows_++);
}

At<char> ActivationStore::row(int32_t number) const {
  return blocks_[number / block_rows_].data() + number % block_rows_ * row_bytes();
}

void store_layer(const Pass& pass, int layer, LayerState& state, At<float> x_out,
                 ActivationStore& store, std::span<const int32_t> rows) {
  const PolicyConfig& c = pass.config;
  const std::vector<At<char>> places = places_of(store, layer, rows);
  const View<const int32_t> order =
      c.sparse[layer] ? order_of(c, state, pass.rows) : View<const int32_t>();
  pass.ops.save_rows(arrays_of(c, widths_of(c, pass.model, layer), state, x_out, pass.rows), places,
                     order, c.router.top_k);
}

void recall_layer(const Pass& pass, int layer, const ActivationStore& store,
                  std::span<const int32_t> rows, LayerState& state, At<float> x_out) {
  const PolicyConfig& c = pass.config;
  const std::vector<SavedArray> arrays =
      arrays_of(c, widths_of(c, pass.model, layer), state, x_out, pass.rows);
  const std::vector<At<char>> places = places_of(store, layer, rows);
  pass.ops.recall_rows(arrays, places, c.router.top_k);
  if (c.sparse[layer]) {  // the rows say how the choices are sorted
    sort_choices(pass, state);
    pass.ops.recall_choices(arrays, places, order_of(c, state, pass.rows), c.router.top_k);
  }
  if (c.recurrent[layer]) {
    delta_cache(pass, layer, state);
  } else if (c.is_latent()) {
    latent_attention_cache(pass, layer, state);
  } else {
    attention_cache(pass, layer, state);
  }
}

}  // namespace zeroth
