// Whole models by the operators of a GPU: scores, activations that are kept and recalled, gradients
// and greedy continuations have the CPU's bits, in float32 and bfloat16.
#include "core/temporary_folder.h"
#include "tests/cuda/gpu.h"
#include "tests/policy/left_by.h"

namespace zeroth::test {
namespace {

void check_model(const Policy& policy, Element element) {
  TemporaryFolder folder;
  policy.save(folder.path());
  const Gpu gpu(0);
  {
    const Left here = left_by(*Policy::load(folder.path(), element));
    const Left there = left_by(*Policy::load(folder.path(), element, gpu));
    CHECK(here.logprobs == there.logprobs);
    CHECK(here.entropies == there.entropies);
    CHECK(here.again == there.again);
    CHECK(here.gradient == there.gradient);
    CHECK(here.recomputed == there.recomputed);
    CHECK(here.load == there.load);
    CHECK(here.routing == there.routing);
    CHECK(here.said == there.said);
    CHECK(here.sha256 == there.sha256);
    CHECK(load_weights(folder.path(), element, gpu)->sha256() == here.sha256);
  }
  check_left_empty(gpu);
}

TEST_CASE("models of all families give the CPU's bits on a GPU") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    check_model(*Policy::load(fixture(family)), Element::kFloat32);
  }
}

TEST_CASE("what families leave out gives the CPU's bits on a GPU") {
  for (const std::string& family : families()) {
    const Json variants = cases(family, "variants");
    for (const auto& [name, changes] : variants.items()) {
      CAPTURE(name);
      check_model(*variant(name, family, changes).policy, Element::kFloat32);
    }
  }
}

TEST_CASE("bfloat16 weights give the CPU's bits on a GPU: experts, latent attention, tied heads") {
  for (const char* family : {"qwen3_moe", "deepseek_v3", "qwen2"}) {
    CAPTURE(family);
    check_model(*Policy::load(fixture(family)), Element::kBfloat16);
  }
}

}  // namespace
}  // namespace zeroth::test
