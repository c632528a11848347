#include "policy/layer_state.h"

namespace zeroth {
namespace {

template <class T>
int64_t bytes_of(const Buffer<T>& buffer) {
  return buffer.bytes();
}
template <class T>
int64_t bytes_of(const std::vector<T>& values) {
  return static_cast<int64_t>(values.capacity() * sizeof(T));
}

}  // namespace

int64_t LayerState::bytes() const {
  int64_t n = 0;
  const_cast<LayerState*>(this)->each(
      LayerWidths(), [&](const SavedField&, const auto& member) { n += bytes_of(member); });
  return n;
}

int64_t LayerState::row_bytes(const LayerWidths& widths) {
  int64_t n = 0;
  LayerState none;
  none.each(widths, [&](const SavedField& field, const auto& member) {
    const int64_t choices = field.order == SavedOrder::kChoice ? widths.choices : 1;
    n += field.width * choices * static_cast<int64_t>(sizeof(*member.data()));
  });
  return n;
}

void LayerState::prepare_attention(const LayerWidths& widths, int64_t m) {
  each(widths, [&](const SavedField& field, auto& member) {
    if constexpr (requires { member.get(m); }) {
      if (field.attention && field.width > 0) member.get(m * field.width);
    }
  });
}

}  // namespace zeroth
