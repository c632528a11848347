#include "model/parameters.h"

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

namespace zeroth {
namespace {

TEST_CASE("the first value that is not finite is found wherever it stands") {
  constexpr float kLargest = std::numeric_limits<float>::max(),
                  kInfinity = std::numeric_limits<float>::infinity();
  const float bad[] = {kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(),
                       std::bit_cast<float>(uint32_t{0xff800001}),
                       std::bit_cast<float>(uint32_t{0x7fffffff})};
  // Finite ones that are nearly not, and zeros of both signs.
  const float good[] = {kLargest, -kLargest, 0.0f, -0.0f, std::numeric_limits<float>::denorm_min(),
                        1.0f};
  for (const size_t size : {0u, 1u, 63u, 64u, 65u, 200u}) {
    std::vector<float> values(size);
    for (size_t i = 0; i < size; ++i) values[i] = good[i % std::size(good)];
    CHECK(first_not_finite(values) == size);
    for (size_t at = 0; at < size; ++at) {
      const float kept = std::exchange(values[at], bad[at % std::size(bad)]);
      CHECK(first_not_finite(values) == at);
      values[at] = kept;
    }
  }
  std::vector<float> two(300, 1.0f);
  two[100] = two[250] = kInfinity;
  CHECK(first_not_finite(two) == 100);
}

}  // namespace
}  // namespace zeroth
