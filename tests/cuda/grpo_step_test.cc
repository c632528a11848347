// A GRPO step on a GPU: the weights and the gradient's norm have the CPU's bits.
#include "tests/cuda/gpu.h"
#include "tests/reference/step_by.h"

namespace zeroth {
namespace {

TEST_CASE("weights after a GRPO step on a GPU are the CPU's") {
  for (const char* family : {"qwen3_moe", "deepseek_v3", "mistral"}) {
    CAPTURE(family);
    const std::filesystem::path model = std::filesystem::path("tests/data/parity") / family;
    const Step here = step_by(kernels::cpu_operators(), model);
    const Gpu gpu(0);
    {
      const Step there = step_by(gpu, model);
      CHECK(here.values == there.values);
      CHECK(here.grad_norm == there.grad_norm);
      CHECK(here.moved > 1e-3);
    }
    check_left_empty(gpu);
  }
}

}  // namespace
}  // namespace zeroth
