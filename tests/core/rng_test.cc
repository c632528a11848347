#include "core/rng.h"

#include <doctest/doctest.h>

#include <cmath>
#include <set>

using namespace zeroth;

TEST_CASE("Philox4x32-10 gives the known answers of its authors") {
  CHECK(philox4x32({0, 0}, {0, 0, 0, 0}) ==
        std::array<uint32_t, 4>{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  const uint32_t f = 0xffffffff;
  CHECK(philox4x32({f, f}, {f, f, f, f}) ==
        std::array<uint32_t, 4>{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}) ==
        std::array<uint32_t, 4>{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("a draw depends on every part of its key and on nothing else") {
  const StreamKey key{7, 1, 2, 3};
  std::set<uint32_t> seen{random_bits(key, 0)};
  CHECK(random_bits(key, 0) == random_bits(key, 0));
  StreamKey other = key;
  other.seed = 8;
  seen.insert(random_bits(other, 0));
  other = key;
  other.seed = 7 + (uint64_t{1} << 32);
  seen.insert(random_bits(other, 0));
  other = key;
  other.step = 2;
  seen.insert(random_bits(other, 0));
  other = key;
  other.problem = 3;
  seen.insert(random_bits(other, 0));
  other = key;
  other.sample = 4;
  seen.insert(random_bits(other, 0));
  seen.insert(random_bits(key, 1));
  seen.insert(random_bits(key, 0, 1));
  CHECK(seen.size() == 8);
}

TEST_CASE("uniform and normal draws have the moments of their distributions") {
  Rng rng(3, 0);
  const int n = 200000;
  double sum = 0, squares = 0, normal = 0, normal_squares = 0;
  for (int i = 0; i < n; ++i) {
    const double u = rng.uniform();
    REQUIRE(u >= 0);
    REQUIRE(u < 1);
    sum += u;
    squares += u * u;
    const double z = rng.normal();
    normal += z;
    normal_squares += z * z;
  }
  CHECK(std::abs(sum / n - 0.5) < 0.003);
  CHECK(std::abs(squares / n - 1.0 / 3) < 0.003);
  CHECK(std::abs(normal / n) < 0.01);
  CHECK(std::abs(normal_squares / n - 1) < 0.02);
}

TEST_CASE("below() is unbiased over a range that does not divide 2^32") {
  Rng rng(5, 1);
  int counts[7] = {};
  for (int i = 0; i < 70000; ++i) ++counts[rng.below(7)];
  for (int count : counts) CHECK(std::abs(count - 10000) < 500);
  CHECK(rng.below(1) == 0);
}
