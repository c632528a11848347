#include "rl/draw.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

using namespace zeroth;

TEST_CASE("draws are without replacement and differ between epochs and seeds") {
  for (int64_t size : {1, 2, 3, 5, 16, 17, 100, 1000}) {
    CAPTURE(size);
    std::vector<int> seen(size);
    for (int64_t draw = 0; draw < size; ++draw) {
      const int64_t index = drawn_index(7, draw, size);
      REQUIRE(index >= 0);
      REQUIRE(index < size);
      ++seen[index];
    }
    for (int count : seen) CHECK(count == 1);
  }
  int same_epoch = 0, same_seed = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    same_epoch += drawn_index(7, i, 1000) == drawn_index(7, 1000 + i, 1000);
    same_seed += drawn_index(7, i, 1000) == drawn_index(8, i, 1000);
  }
  CHECK(same_epoch < 20);
  CHECK(same_seed < 20);
  const int64_t huge = int64_t{1} << 61;
  CHECK(drawn_index(7, 0, huge) != drawn_index(7, 1, huge));
  CHECK(drawn_index(7, 12345, huge) < huge);
}
