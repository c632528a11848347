// A fleet of workers on the CPU and on a GPU: the bytes of one process.
#include <algorithm>

#include "tests/cuda/gpu.h"
#include "tests/rollout/fleet_support.h"

namespace zeroth::fleet::test {
namespace {

// How many leases workers of that name have delivered.
int64_t delivered(const Json& status, const std::string& name) {
  int64_t results = 0;
  for (const Json& worker : status["workers"])
    if (worker["name"] == name) results += worker["results"].get<int64_t>();
  return results;
}

TEST_CASE("a fleet of CPU and GPU workers gives the bytes of one process") {
  for (const char* kind : {"moe", "latent"}) {
    CAPTURE(kind);
    const Gpu gpu(0);
    {
      FleetConfig config;
      config.audit_rate = 1;  // what one back end drew, another one draws again
      Fleet fleet(kind, config, true);
      WorkerOptions with = fleet.options("gpu");
      with.operators = &gpu;
      with.engine.cache_pages = 64;
      fleet.start(with);
      for (uint32_t step = 0; step < 3; ++step) {
        const auto wanted = requests(3, 2, 5, step);
        check_equal(fleet.sampler->generate(wanted), fleet.expected(wanted));
        if (step == 0) {
          CHECK(delivered(fleet.sampler->coordinator().status(), "gpu") == 3);
          fleet.start(fleet.options("cpu"));
        }
        for (float& value : fleet.policy->parameters().values()) value *= 1.01f;
        fleet.policy->publish(step + 1);
        fleet.sampler->publish(fleet.policy->weights());
      }
      const Json status = fleet.sampler->coordinator().status();
      CHECK(status["counts"]["mismatches"] == 0);
      CHECK(status["counts"]["audited"].get<int64_t>() > 0);
      CHECK(delivered(status, "cpu") + delivered(status, "gpu") == 9);
      CHECK(fleet.errors.empty());
    }
    check_left_empty(gpu);
  }
}

}  // namespace
}  // namespace zeroth::fleet::test
