#include "policy/layer_state.h"

namespace zeroth {

int64_t LayerState::bytes() const {
  int64_t n = 0;
  const_cast<LayerState*>(this)->each(
      LayerWidths(), [&](const SavedField&, const auto& member) { n += member.bytes(); });
  return n;
}

int64_t LayerState::row_bytes(const LayerWidths& widths) {
  int64_t n = 0;
  LayerState none;
  none.each(widths, [&](const SavedField& field, const auto& member) {
    const int64_t choices = field.order == SavedOrder::kChoice ? widths.choices : 1;
    n += field.width * choices *
         static_cast<int64_t>(sizeof(typename decltype(member.data())::Value));
  });
  return n;
}

void LayerState::on(const kernels::Device& device) {
  each(LayerWidths(), [&](const SavedField&, auto& member) { member.on(device); });
}

void LayerState::prepare_attention(const LayerWidths& widths, int64_t m) {
  each(widths, [&](const SavedField& field, auto& member) {
    if (field.attention && field.width > 0) member.get(m * field.width);
  });
}

}  // namespace zeroth
