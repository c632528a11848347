#include "learn/parity.h"

#include <doctest/doctest.h>

#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

TEST_CASE("every family agrees with the reference implementation") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    const ParityGap gap = measure_parity(fixture(family));
    CHECK(gap.logprob <= kParityLogprobBound);
    CHECK(gap.logit <= kParityLogitBound);
    CHECK(gap.grad_norm <= kParityGradBound);
    CHECK(gap.greedy_equal);
    CHECK(gap.within_bounds());
  }
}

// Biases, linear and YaRN scaling, dynamic and longrope within their lengths, an odd part of a head
// and pairs that stand still, clipping, sliding windows, dense layers among sparse ones, grouped
// routing, experts without shared ones.
TEST_CASE("variants of the families agree too") {
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator("tests/data/parity_variants")) {
    if (!entry.is_directory()) continue;
    const std::string name = entry.path().string();
    CAPTURE(name);
    CHECK(measure_parity(entry.path()).within_bounds());
    ++seen;
  }
  CHECK(seen == 18);
}

TEST_CASE("a wrong weight is out of bounds") {
  const TempDir dir;
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_moe"));
  Parameters& parameters = policy->parameters();
  for (float& w : parameters.view(parameters.info("model.layers.1.mlp.gate.weight"))) w *= 1.01f;
  policy->save(dir.path());
  std::filesystem::copy(fixture("qwen3_moe") / "expected.json", dir.path());
  CHECK_FALSE(measure_parity(dir.path()).within_bounds());
}
