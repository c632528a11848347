// How long weights take from a trainer to a worker on this machine, while the worker samples:
// build/fleet_sync CONFIG.json [bfloat16] [sampling] [--lr RATE] [--steps N].
//
// Random weights of that config are published and fetched whole, then changed by steps of AdamW with
// gradients of noise, published and fetched again: the first step moves every value by the learning
// rate, which is the most that AdamW does. Trainer and worker are one process and share the cores; a
// thread samples with the worker's newest weights all the time, as a worker does.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "core/background_threads.h"
#include "core/files.h"
#include "core/parallel.h"
#include "core/stopwatch.h"
#include "core/temporary_folder.h"
#include "learn/optimizer.h"
#include "policy/policy.h"
#include "rollout/fleet/coordinator.h"
#include "rollout/fleet/link.h"
#include "rollout/local_sampler.h"

namespace {

using namespace zeroth;
using namespace zeroth::fleet;

constexpr char kToken[] = "a-token-of-a-sync-test";

// Noise of about a normal distribution, a function of the place: quick, and the same at each run.
float noise(uint64_t at) {
  uint64_t x = at * 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  x ^= x >> 31;
  int sum = 0;
  for (int i = 0; i < 8; ++i) sum += static_cast<int>(x >> (8 * i) & 255);
  return (static_cast<float>(sum) - 1020.0f) / 209.0f;
}

// Samples one sequence after another with the newest weights of a worker, and measures how long it
// draws nothing.
class Sampling {
 public:
  explicit Sampling(WeightsCache& cache) : cache_(cache), thread_([this] { run(); }) {}
  ~Sampling() {
    stop_ = true;
    thread_.join();
  }
  // Seconds without a token: the median and the most since the last call.
  std::pair<double, double> pauses() {
    std::lock_guard lock(mutex_);
    std::vector<double> sorted;
    sorted.swap(pauses_);
    if (sorted.empty()) return {0, 0};
    std::sort(sorted.begin(), sorted.end());
    return {sorted[sorted.size() / 2], sorted.back()};
  }

 private:
  void run() {
    std::unique_ptr<LocalSampler> sampler;
    GenerationRequest request;
    request.prompt = {1, 2, 3, 4};
    request.samples = 1;
    request.sampling.max_tokens = 16;
    double last = 0;
    const auto drew = [&](int, int, const Sample&) {
      const double now = steady_now();
      std::lock_guard lock(mutex_);
      if (last > 0) pauses_.push_back(now - last);
      last = now;
      return !stop_.load();
    };
    while (!stop_) {
      const std::string newest = cache_.newest();
      if (newest.empty()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      const WeightsPtr weights = cache_.get(newest);
      if (!sampler) sampler = std::make_unique<LocalSampler>(weights, nullptr, EngineConfig{});
      sampler->publish(weights);
      sampler->generate({request}, {.drew = drew});
      ++request.step;
    }
  }

  WeightsCache& cache_;
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::vector<double> pauses_;
  std::thread thread_;
};

int run(const std::string& config_file, kernels::Element element, double lr, int steps,
        bool sampling_too) {
  const TemporaryFolder folder("fleet-sync");
  write_file_atomic(folder.path() / "token", std::string(kToken) + "\n");
  const auto policy = Policy::init(PolicyConfig::from_file(config_file), 1, element);
  FleetConfig config;
  config.listen = "127.0.0.1:0";
  config.token_file = (folder.path() / "token").string();
  FleetSetup setup;
  setup.model = policy->config();
  setup.element = element;
  Coordinator coordinator(config, setup);
  const std::atomic<bool> stop{false};
  WeightsCache cache({coordinator.url(), kToken, "", 10}, policy->config(), stop, element);
  std::unique_ptr<Sampling> sampling;
  OptimizerConfig adam;
  adam.lr = lr;
  AdamW optimizer(policy->parameters(), adam);
  std::vector<float> gradient(policy->parameters().values().size());
  WeightsCache::Stats before;
  for (int step = 0; step <= steps; ++step) {
    if (step > 0) {
      const auto n = static_cast<int64_t>(gradient.size());
      parallel_for(n, 1 << 16, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          gradient[i] = noise(static_cast<uint64_t>(i + step * n));
      });
      optimizer.step(policy->parameters(), gradient, lr);
      policy->publish(step);
      if (sampling_too && !sampling) sampling = std::make_unique<Sampling>(cache);
      if (sampling) std::this_thread::sleep_for(std::chrono::seconds(2));
    }
    const double alone = sampling ? sampling->pauses().first : 0;
    const double start = steady_now();
    double live = 0;
    std::string fetched;
    // Trainer and worker have threads of their own, as processes have.
    const BackgroundThreads trainer;
    std::thread follower([&] {
      const BackgroundThreads background;
      while (cache.stats().full + cache.stats().deltas <= step) cache.follow();
      live = steady_now() - start;
    });
    const std::string sha256 = coordinator.publish(*policy->weights());
    const double published = steady_now() - start;
    follower.join();
    const auto now = cache.stats();
    std::printf(
        "%s, %.1f MB: published after %.2f s, live in the worker after %.2f s (received %.2f, "
        "applied %.2f, checked %.2f, packed %.2f)",
        now.full > before.full ? "whole" : "delta",
        static_cast<double>(now.bytes - before.bytes) / 1e6, published, live,
        now.receive_s - before.receive_s, now.apply_s - before.apply_s,
        now.check_s - before.check_s, now.load_s - before.load_s);
    if (sampling) {
      std::printf("; a token each %.0f ms before, at most %.0f ms without one", 1e3 * alone,
                  1e3 * sampling->pauses().second);
    }
    std::printf("\n");
    std::fflush(stdout);
    if (cache.newest() != sha256) {
      std::printf("WRONG: the worker holds other weights\n");
      return 1;
    }
    before = now;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  auto element = kernels::Element::kFloat32;
  double lr = 1e-6;
  int steps = 4;
  bool sampling = false, wrong = argc < 2;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "bfloat16") {
      element = kernels::Element::kBfloat16;
    } else if (word == "sampling") {
      sampling = true;
    } else if (word == "--lr" && i + 1 < argc) {
      lr = std::atof(argv[++i]);
    } else if (word == "--steps" && i + 1 < argc) {
      steps = std::atoi(argv[++i]);
    } else {
      wrong = true;
    }
  }
  if (wrong) {
    std::fprintf(stderr,
                 "usage: fleet_sync CONFIG.json [bfloat16] [sampling] [--lr RATE] [--steps N]\n");
    return 2;
  }
  return run(argv[1], element, lr, steps, sampling);
}
