#include "rl/router_load.h"

#include <algorithm>
#include <numeric>

namespace zeroth {

double max_violation(const RouterStats& stats) {
  double worst = 0;
  for (const auto& load : stats.load) {
    const int64_t total = std::accumulate(load.begin(), load.end(), int64_t{0});
    if (total == 0) continue;
    const double mean = static_cast<double>(total) / static_cast<double>(load.size());
    worst = std::max(worst,
                     static_cast<double>(*std::max_element(load.begin(), load.end())) / mean - 1);
  }
  return worst;
}

void add_load(const RouterStats& from, RouterStats& to) {
  to.change += from.change;
  if (to.load.empty()) to.load.resize(from.load.size());
  for (size_t l = 0; l < from.load.size(); ++l) {
    to.load[l].resize(from.load[l].size());
    for (size_t e = 0; e < from.load[l].size(); ++e) to.load[l][e] += from.load[l][e];
  }
}

void balance_selection(Parameters& parameters, const RouterStats& stats, double rate) {
  size_t layer = 0;
  for (const ParameterInfo& info : parameters.infos()) {
    if (info.role != Role::kSelectionBias) continue;
    if (layer == stats.load.size()) return;  // nothing was routed
    const std::vector<int64_t>& load = stats.load[layer++];
    const int64_t total = std::accumulate(load.begin(), load.end(), int64_t{0});
    const std::span<float> bias = parameters.view(info);
    const auto experts = static_cast<int64_t>(load.size());
    for (int64_t e = 0; e < experts; ++e) {
      const int64_t excess = load[e] * experts - total;
      bias[e] -= static_cast<float>(rate * (excess > 0) - rate * (excess < 0));
    }
  }
}

}  // namespace zeroth
