// A fleet inside of the test: a sampler with its coordinator on 127.0.0.1, and workers as threads.
#pragma once

#include <doctest/doctest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "rollout/fleet/fleet_sampler.h"
#include "rollout/fleet/worker.h"
#include "rollout/local_sampler.h"
#include "tests/rollout/tiny_models.h"

namespace zeroth::fleet::test {

inline constexpr char kToken[] = "0123456789abcdef-token";

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "zeroth-fleet-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

struct Fleet {
  explicit Fleet(const std::string& kind = "dense", FleetConfig with = {}, bool experts = false,
                 kernels::Element element = kernels::Element::kFloat32)
      : policy(Policy::init(tiny_policy(kind)->config(), 3, element)),
        config(with),
        record_experts(experts) {
    write_file_atomic(folder.path / "tokens", std::string(kToken) + "\n");
    config.listen = "127.0.0.1:0";
    config.token_file = (folder.path / "tokens").string();
    FleetSetup setup;
    setup.model = policy->config();
    setup.element = element;
    setup.record_experts = experts;
    setup.folder = folder.path / "fleet";
    sampler = std::make_unique<FleetSampler>(policy->weights(), config, setup);
  }
  ~Fleet() {
    stop = true;
    for (std::thread& thread : threads) thread.join();
  }

  WorkerOptions options(const std::string& name) {
    WorkerOptions out;
    out.link.url = sampler->coordinator().url();
    out.link.token = kToken;
    out.link.retry_s = 120;  // on a machine that is busy
    out.name = name;
    return out;
  }
  void start(WorkerOptions with) {
    threads.emplace_back([this, with] {
      try {
        work(with, stop);
      } catch (const Error& error) {
        std::lock_guard lock(mutex);
        errors.push_back(error.what());
      }
    });
  }
  // What workers ended with, a line each.
  std::string said() {
    std::lock_guard lock(mutex);
    std::string text;
    for (const std::string& error : errors) text += error + "\n";
    return text;
  }
  std::vector<std::vector<Sample>> expected(const std::vector<GenerationRequest>& requests) {
    EngineConfig engine;
    engine.record_experts = record_experts;
    LocalSampler local(policy->weights(), nullptr, engine);
    return local.generate(requests);
  }

  Folder folder;
  std::unique_ptr<Policy> policy;
  FleetConfig config;
  bool record_experts;
  std::unique_ptr<FleetSampler> sampler;
  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::vector<std::string> errors;
  std::vector<std::thread> threads;
};

inline std::vector<GenerationRequest> requests(int groups, int samples, int tokens,
                                               uint32_t step = 0) {
  std::vector<GenerationRequest> out(groups);
  for (int i = 0; i < groups; ++i) {
    for (int t = 0; t < 3 + i; ++t) out[i].prompt.push_back(2 + (7 * i + t) % 90);
    out[i].seed = 11;
    out[i].step = step;
    out[i].problem = static_cast<uint32_t>(i);
    out[i].samples = samples;
    out[i].sampling.max_tokens = tokens;
  }
  return out;
}

inline void check_equal(const std::vector<std::vector<Sample>>& a,
                        const std::vector<std::vector<Sample>>& b) {
  REQUIRE(a.size() == b.size());
  for (size_t r = 0; r < a.size(); ++r) {
    CAPTURE(r);
    CHECK(compare_samples(a[r], b[r]).describe() == "every bit is right");
    for (size_t i = 0; i < a[r].size(); ++i) {
      CHECK(a[r][i].key == b[r][i].key);
      CHECK(a[r][i].finish == b[r][i].finish);
      CHECK(a[r][i].text == b[r][i].text);
      CHECK(a[r][i].versions == b[r][i].versions);
    }
  }
}

}  // namespace zeroth::fleet::test
