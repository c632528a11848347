// How long weights take from a trainer to a worker on this machine: build/fleet_sync CONFIG.json [bfloat16].
//
// Random weights of that config are published and fetched whole, then changed as a step of AdamW
// changes them, published and fetched again. Trainer and worker share the cores.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <random>
#include <thread>

#include "core/files.h"
#include "core/rng.h"
#include "policy/policy.h"
#include "rollout/fleet/coordinator.h"
#include "rollout/fleet/link.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace

int main(int argc, char** argv) {
  const bool narrow = argc == 3 && std::string(argv[2]) == "bfloat16";
  if (argc != 2 && !narrow) {
    std::fprintf(stderr, "usage: fleet_sync CONFIG.json [bfloat16]\n");
    return 2;
  }
  const auto element = narrow ? kernels::Element::kBfloat16 : kernels::Element::kFloat32;
  const auto folder = std::filesystem::temp_directory_path() / "zeroth_fleet_sync";
  std::filesystem::create_directories(folder);
  write_file_atomic(folder / "token", "a-token-of-a-sync-test\n");
  const auto policy = Policy::init(PolicyConfig::from_file(argv[1]), 1, element);
  FleetConfig config;
  config.listen = "127.0.0.1:0";
  config.token_file = (folder / "token").string();
  FleetSetup setup;
  setup.model = policy->config();
  setup.element = element;
  Coordinator coordinator(config, setup);
  const std::atomic<bool> stop{false};
  const LinkOptions link{coordinator.url(), "a-token-of-a-sync-test", "", 10};
  WeightsCache cache(link, policy->config(), stop, element);
  int64_t bytes = 0;
  for (int step = 0; step < 4; ++step) {
    if (step > 0) {
      // AdamW at a learning rate of 1e-5: every value moves by about that much.
      std::mt19937 random(static_cast<unsigned>(step));
      std::normal_distribution<float> normal(0, 1e-5f);
      for (float& value : policy->parameters().values()) value += normal(random);
      policy->publish(step);
    }
    const auto start = Clock::now();
    std::thread follower([&] { cache.follow(); });
    const std::string sha256 = coordinator.publish(*policy->weights());
    const double published = since(start);
    follower.join();
    const bool right = cache.newest() == sha256;
    const auto stats = cache.stats();
    std::printf("%s: published after %.2f s, live in the worker after %.2f s, %.1f MB%s\n",
                stats.deltas == step ? (step ? "delta" : "whole") : "whole again", published,
                since(start), static_cast<double>(stats.bytes - bytes) / 1e6,
                right ? "" : ", but WRONG");
    bytes = stats.bytes;
  }
  std::filesystem::remove_all(folder);
  return 0;
}
