// Routing replay: rows go to the experts that were recorded when they were sampled.
#include <algorithm>

#include "policy/decoder.h"

namespace zeroth {

RoutingChange& RoutingChange::operator+=(const RoutingChange& other) {
  choices += other.choices;
  changed_choices += other.changed_choices;
  rows += other.rows;
  changed_rows += other.changed_rows;
  return *this;
}

void recall_routing(const Pass& pass, int layer, LayerState& state) {
  const PolicyConfig& c = pass.config;
  const auto& [recorded, replay] = pass.batch.recorded;
  const int64_t k = c.router.top_k, layers = c.moe_layers();
  const int64_t moe = std::count(c.sparse.begin(), c.sparse.begin() + layer, 1);
  Scratch& s = pass.scratch;
  s.rerouted.resize(pass.rows);
  const kernels::OnHost<int32_t> chosen(pass.ops.device(), state.expert_ids.data(), pass.rows * k);
  std::vector<int32_t> ids(chosen.values().begin(), chosen.values().end());
  bool moved = false;
  for (int64_t row = 0; row < pass.rows; ++row) {
    const uint16_t* then = recorded.data() + (row * layers + moe) * k;
    int32_t* now = ids.data() + row * k;
    if (then[0] == RecordedRouting::kNone || std::equal(then, then + k, now)) continue;
    s.rerouted[row] = 1;
    ++s.reroutings;
    if (!replay) continue;
    std::copy(then, then + k, now);
    moved = true;
  }
  // The weights of choices that stay come out as they are.
  if (!moved) return;
  kernels::copy_in(pass.ops.device(), state.expert_ids.data(), ids.data(), pass.rows * k);
  pass.ops.weigh_choices(state.scores.data(), state.expert_ids.data(), c.router,
                         state.expert_weights.data(), pass.rows);
}

}  // namespace zeroth
