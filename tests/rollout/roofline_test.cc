#include "rollout/roofline.h"

#include <doctest/doctest.h>

#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

TEST_CASE("the numbers of a small MoE, counted by hand") {
  const auto policy = tiny_policy("moe");
  const Roofline roofline(policy->config());
  // Per layer: q 48x64, k and v 48x32 each, o 64x48, router 8x48, norms 2x48 + 2x16, two of eight
  // experts of 3x48x24. Then the final norm and the head 96x48; the input table costs nothing.
  const double resident =
      3 * (48 * 64 + 2 * 48 * 32 + 64 * 48 + 8 * 48 + 2 * 48 + 2 * 16) + 48 + 96 * 48;
  const double expert = 3 * 48 * 24;
  const double active = resident + 3 * 2 * expert;
  const double attention = 4 * 3 * (4 * 16);  // 4 L d_attn per position
  CHECK(roofline.forward_flops(0) == doctest::Approx(2 * active));
  CHECK(roofline.forward_flops(10) == doctest::Approx(2 * active + attention * 10));
  CHECK(roofline.train_flops(10) == doctest::Approx(3 * (2 * active + attention * 10)));

  CHECK(roofline.experts_hit(1) == doctest::Approx(2));
  CHECK(roofline.experts_hit(8) == doctest::Approx(8 * (1 - std::pow(0.75, 8))));
  const double cache = 4.0 * 2 * 3 * 2 * 16;  // 2 L n_kv d_h floats per position
  CHECK(roofline.decode_bytes(1, 10) ==
        doctest::Approx(4 * (resident + 3 * 2 * expert) + 10 * cache));

  // Bound by memory, then by arithmetic.
  CHECK(roofline.decode_limit({1e30, 1e9}, 1, 10) ==
        doctest::Approx(1e9 / roofline.decode_bytes(1, 10)));
  CHECK(roofline.decode_limit({1e9, 1e30}, 64, 10) ==
        doctest::Approx(1e9 / roofline.forward_flops(10)));
}

TEST_CASE("a dense policy has no experts to hit") {
  const auto policy = tiny_policy("dense");
  const Roofline roofline(policy->config());
  CHECK(roofline.experts_hit(8) == 0);
  const double active = 3 * (48 * 64 + 2 * 48 * 32 + 64 * 48 + 3 * 48 * 80 + 2 * 48) + 48 + 96 * 48;
  CHECK(roofline.forward_flops(0) == doctest::Approx(2 * active));
  CHECK(roofline.decode_bytes(5, 0) == doctest::Approx(4 * active));
}

TEST_CASE("latent attention is counted by its expanded heads") {
  const auto policy = tiny_policy("latent");
  const Roofline roofline(policy->config());
  CHECK(roofline.forward_flops(1) - roofline.forward_flops(0) ==
        doctest::Approx(2.0 * 3 * 4 * (16 + 12)));
  CHECK(roofline.decode_bytes(1, 1) - roofline.decode_bytes(1, 0) ==
        doctest::Approx(4.0 * 3 * 4 * (16 + 12)));
}

}  // namespace
}  // namespace zeroth
