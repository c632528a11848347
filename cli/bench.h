// What the parts of `zeroth bench` share.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/commands.h"
#include "core/config.h"
#include "policy/device_config.h"
#include "policy/expert_exchange.h"
#include "policy/policy.h"
#include "policy/publish_config.h"
#include "rl/trainer.h"
#include "rollout/sampler.h"

namespace zeroth {

struct BenchOptions {
  std::string model;
  std::string config;
  std::vector<int> batch = {1, 8, 64};
  int prompt_tokens = 32;
  int tokens = 128;
  int prompts = 16;
  int samples = 16;
  double seconds = 2;
  int cache_mb = 1024;
  bool decode_only = false;
  int ranks = 0;
  std::string engine = "gloo";
  int branches = 8;
  bool expert_parallel = false;
  bool direct = true;
  int rounds = 3;
  PublishConfig publish;
  DeviceConfig device;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of a checkpoint");
    v("config", config, "Hugging Face config.json; weights are random");
    v("batch", batch, "sequences decoded together, one measurement each", Range{1, 65536});
    v("prompt_tokens", prompt_tokens, "length of the prompts", Range{1, 1 << 20});
    v("tokens", tokens, "tokens sampled per sequence", Range{1, 1 << 20});
    v("prompts", prompts, "prompts of the GRPO step", Range{1, 1 << 20});
    v("samples", samples, "samples per prompt of the GRPO step", Range{1, 1 << 20});
    v("seconds", seconds, "measure each decode batch for at least this long", Range{0, 3600});
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    publish.fields(v);
    device.fields(v);
    v("decode_only", decode_only, "leave out training and the GRPO step");
    v("ranks", ranks,
      "time a GRPO step of so many learners on this machine instead, in turns with one that has "
      "all its cores, and what they exchange; 0 = off",
      Range{0, 1024});
    v("engine", engine,
      "with --ranks: gloo, nccl, or mpi (start mpirun -n N zeroth bench --ranks N ..)",
      Choice{{"gloo", "mpi", "nccl"}});
    v("branches", branches, "with --ranks: trainer.branches, at least that many", Range{1, 1024});
    v("expert_parallel", expert_parallel, "with --ranks: ranks.expert_parallel");
    v("direct", direct, "with --ranks: ranks.direct");
    v("rounds", rounds, "with --ranks: turns", Range{1, 1000});
    v("json", json, "print one JSON object");
  }
};

std::unique_ptr<Policy> bench_policy(const BenchOptions& options,
                                     std::shared_ptr<ExpertExchange> experts = nullptr);
// The largest memory of this process since its start, or since it was reset, in MiB; 0 where /proc
// does not tell.
double peak_memory_mb();
// The prompt number `index`, made up.
GenerationRequest bench_request(const PolicyConfig& model, const BenchOptions& options, int index,
                                int samples);
// The groups of a GRPO step by the policy's weights, with made-up rewards.
std::vector<Group> bench_groups(const Policy& policy, const BenchOptions& options, Sampler& sampler,
                                Tickets& tickets);

// `zeroth bench --ranks N`; `args` are all its arguments, for the ranks that it starts.
int bench_ranks(const BenchOptions& options, const Args& args);

}  // namespace zeroth
