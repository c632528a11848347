#include "rollout/start_order.h"

#include <algorithm>
#include <numeric>

namespace zeroth {

std::vector<size_t> longest_first(const std::vector<GenerationRequest>& requests) {
  double sum = 0, known = 0;
  for (const GenerationRequest& request : requests) {
    sum += request.expected_tokens;
    known += request.expected_tokens > 0;
  }
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  if (known == 0) return order;
  const auto expected = [&](size_t i) {
    const double tokens = requests[i].expected_tokens;
    return std::min<double>(tokens > 0 ? tokens : sum / known, requests[i].sampling.max_tokens);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return expected(a) > expected(b); });
  return order;
}

}  // namespace zeroth
