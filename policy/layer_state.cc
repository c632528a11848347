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

LayerWidths::LayerWidths(const PolicyConfig& c, int layer)
    : model(c.width), heads(c.heads), attended(int64_t{c.heads} * c.v_dim()) {
  if (c.is_latent()) {
    q_latent = c.latent.q_rank;
    kv_latent = c.latent.kv_rank + c.latent.rope_dim;
    q_heads = int64_t{c.heads} * c.k_dim();
  } else {
    qkv = int64_t{c.heads + 2 * c.kv_heads} * c.head_dim;
    if (c.qk_norm == QkNorm::kWholeWidth) qk_norms = 2;
    if (c.qk_norm == QkNorm::kPerHead) qk_norms = c.heads + c.kv_heads;
  }
  if (!c.sparse[layer]) {
    gate_up = 2 * int64_t{c.mlp_width};
    choices = 1;
    return;
  }
  gate_up = 2 * int64_t{c.expert_width};
  choices = c.router.top_k;
  experts = c.router.experts;
  shared_gate_up = 2 * int64_t{c.shared_width};
  shared_gate = c.shared_gate ? 1 : 0;
}

int64_t LayerState::bytes() const {
  int64_t n = 0;
  const_cast<LayerState*>(this)->each(
      LayerWidths(), [&](const SavedField&, const auto& member) { n += bytes_of(member); });
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
