// `zeroth bench`: how fast this machine samples and trains, beside what it could do at best.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "cli/bench.h"
#include "cli/commands.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/parallel.h"
#include "core/stopwatch.h"
#include "core/system.h"
#include "kernels/back_ends.h"
#include "policy/policy.h"
#include "rl/trainer.h"
#include "rollout/local_sampler.h"
#include "rollout/roofline.h"

namespace zeroth {
namespace {

class Bench {
 public:
  Bench(Policy& policy, const BenchOptions& options)
      : policy_(policy),
        options_(options),
        roofline_(policy.config(), options.publish.bytes()),
        context_(options.prompt_tokens + options.tokens / 2.0) {}

  Json run() {
    const ParameterCounts counts = count_parameters(policy_.config());
    limits_ = kernels::limits_of(options_.device.device);
    // Measuring the limits takes memory that the work does not need. Where the system has no such
    // thing, the peak covers the measurement too.
    system::reset_peak_memory();
    peak_ = limits_.gflops * 1e9;
    Json out;
    out["parameters"] = counts.total;
    out["active_parameters"] = counts.active;
    out["weights"] = options_.publish.weights;
    out["cache_bytes_per_token"] = policy_.config().cache_bytes_per_token();
    out["threads"] = num_threads();
    out["isa"] = kernels::isa();
    out["device"] = options_.device.device;
    if (limits_.product_gflops > 0) {
      out["product_gflops"] = limits_.product_gflops;
      const double baseline = kernels::baseline_gflops(options_.device.device);
      if (baseline > 0) out["cublas_gflops"] = baseline;
    }
    out["gemm_peak_gflops"] = limits_.gflops;
    out["read_bandwidth_gbs"] = limits_.read_gbs;
    out["cache_bandwidth_gbs"] = limits_.cache_gbs;
    out["cache_mb"] = limits_.cache_mb;
    out["decode"] = Json::array();
    for (const int batch : options_.batch) out["decode"].push_back(decode(batch));
    if (!options_.decode_only) step(out);
    out["peak_rss_mb"] = peak_memory_mb();
    return out;
  }

 private:
  // Every sequence continues one shared prompt; its few prefill rows count as time. The fastest of
  // several runs stands, as the limits are the fastest of several runs too.
  Json decode(int batch) {
    std::fprintf(stderr, "decode, batch %d\n", batch);
    EngineConfig config;
    config.max_batch = batch;
    config.cache_mb = options_.cache_mb;
    config.draft_tokens = 0;  // a run that is made again would be drafted from itself
    LocalSampler sampler(policy_.weights(), nullptr, config);
    const GenerationRequest request = bench_request(policy_.config(), options_, 0, batch);
    const double begin = steady_now();
    double best = 1e300;
    do {
      const double start = steady_now();
      sampler.generate({request});
      best = std::min(best, steady_now() - start);
    } while (steady_now() - begin < options_.seconds);
    // What fits into the last-level cache is read from there: memory is not its limit.
    const double bytes = roofline_.decode_bytes(batch, context_);
    const bool cached = bytes <= limits_.cache_mb * 1048576;
    const MachineLimits machine{peak_, (cached ? limits_.cache_gbs : limits_.read_gbs) * 1e9};
    const double rate = batch * double(options_.tokens) / best;
    const double limit = roofline_.decode_limit(machine, batch, context_);
    Json row;
    row["batch"] = batch;
    row["tokens_per_s"] = rate;
    row["fraction_of_limit"] = rate / limit;
    row["limit_tokens_per_s"] = limit;
    row["step_mb"] = bytes / 1e6;
    row["read_from"] = cached ? "cache" : "memory";
    return row;
  }

  // A whole GRPO step on made-up rewards; the second one is measured, when all memory is warm.
  void step(Json& out) {
    std::fprintf(stderr, "GRPO step, %d prompts x %d samples x %d tokens\n", options_.prompts,
                 options_.samples, options_.tokens);
    OptimizerConfig optimizer;
    optimizer.lr = 1e-6;
    Trainer trainer(policy_, nullptr, TrainerConfig{}, LossConfig{}, optimizer, 1, 2,
                    options_.tokens, 1.0);
    EngineConfig config;
    config.max_batch = std::min(options_.prompts * options_.samples, 256);
    config.cache_mb = options_.cache_mb;
    config.draft_tokens = 0;
    // A run keeps one, too.
    LocalSampler sampler(policy_.weights(), nullptr, config, trainer.activation_store());
    Tickets tickets;
    const std::vector<Group> warm_up = bench_groups(policy_, options_, sampler, tickets);
    trainer.update(warm_up, 0, tickets);
    const double start = steady_now();
    const std::vector<Group> groups = bench_groups(policy_, options_, sampler, tickets);
    const double sampled = steady_now();
    const StepReport report = trainer.update(groups, 1, tickets);
    const double end = steady_now();
    const double tokens = double(options_.prompts) * options_.samples * options_.tokens;
    const double rows = tokens + double(options_.prompts) * options_.prompt_tokens;
    out["train"]["tokens_per_s"] = rows / (end - sampled);
    const double flops =
        rows * roofline_.train_flops(context_) -
        static_cast<double>(report.recalled_rows) * roofline_.forward_flops(context_);
    out["train"]["mfu"] = flops / (end - sampled) / peak_;
    out["train"]["recalled_share"] = report.recalled_share();
    Json& step = out["step"];
    step["prompts"] = options_.prompts;
    step["samples"] = options_.samples;
    step["tokens"] = options_.tokens;
    step["seconds"] = end - start;
    step["sample_seconds"] = sampled - start;
    step["train_seconds"] = end - sampled;
    step["tokens_per_s"] = tokens / (end - start);
    step["logp_difference_max"] = report.logp_difference_max;
  }

  Policy& policy_;
  const BenchOptions& options_;
  Roofline roofline_;
  kernels::DeviceLimits limits_;
  double peak_ = 0;  // FLOP/s
  double context_;   // mean number of positions that a sampled token sees
};

void print_table(const Json& out) {
  const auto number = [](const Json& value) { return value.get<double>(); };
  std::printf("parameters            %.1f M, %.1f M active\n", number(out["parameters"]) / 1e6,
              number(out["active_parameters"]) / 1e6);
  std::printf("cache                 %.0f bytes a token\n", number(out["cache_bytes_per_token"]));
  if (out.contains("product_gflops")) {
    std::printf("device                %s\n", out["device"].get<std::string>().c_str());
    std::printf("multiply-adds         %.0f GFLOP/s, a product of 4096^3 %.0f GFLOP/s (%.1f%%)\n",
                number(out["gemm_peak_gflops"]), number(out["product_gflops"]),
                100 * number(out["product_gflops"]) / number(out["gemm_peak_gflops"]));
    if (out.contains("cublas_gflops"))
      std::printf("  by cuBLAS           %.0f GFLOP/s\n", number(out["cublas_gflops"]));
    std::printf("read bandwidth        %.1f GB/s\n\n", number(out["read_bandwidth_gbs"]));
  } else {
    std::printf("matrix product peak   %.0f GFLOP/s, %d threads, %s\n",
                number(out["gemm_peak_gflops"]), out["threads"].get<int>(),
                out["isa"].get<std::string>().c_str());
    std::printf("read bandwidth        %.1f GB/s, %.1f GB/s in a cache of %.0f MiB\n\n",
                number(out["read_bandwidth_gbs"]), number(out["cache_bandwidth_gbs"]),
                number(out["cache_mb"]));
  }
  std::printf("decode  batch   tokens/s    limit   share\n");
  for (const Json& row : out["decode"]) {
    std::printf("        %5d  %9.0f  %7.0f  %5.1f%%\n", row["batch"].get<int>(),
                number(row["tokens_per_s"]), number(row["limit_tokens_per_s"]),
                100 * number(row["fraction_of_limit"]));
  }
  if (out.contains("step")) {
    const Json& step = out["step"];
    std::printf("\ntrain   %.0f tokens/s, %.1f%% of the peak (MFU)\n",
                number(out["train"]["tokens_per_s"]), 100 * number(out["train"]["mfu"]));
    std::printf(
        "step    %d x %d x %d tokens in %.2f s (sampling %.2f, update %.2f): %.0f tokens/s\n",
        step["prompts"].get<int>(), step["samples"].get<int>(), step["tokens"].get<int>(),
        number(step["seconds"]), number(step["sample_seconds"]), number(step["train_seconds"]),
        number(step["tokens_per_s"]));
  }
  std::printf("\npeak memory %.0f MiB\n", number(out["peak_rss_mb"]));
}

}  // namespace

double peak_memory_mb() { return std::max(0.0, system::own_memory().peak_mb); }

std::unique_ptr<Policy> bench_policy(const BenchOptions& options,
                                     std::shared_ptr<ExpertExchange> experts) {
  const kernels::Element weights = options.publish.element();
  const kernels::Operators& ops = options.device.operators();
  return options.model.empty() ? Policy::init(PolicyConfig::from_file(options.config), 1, weights,
                                              ops, std::move(experts))
                               : Policy::load(options.model, weights, ops, std::move(experts));
}

GenerationRequest bench_request(const PolicyConfig& model, const BenchOptions& options, int index,
                                int samples) {
  GenerationRequest request;
  Rng rng(17, static_cast<uint32_t>(index));
  for (int i = 0; i < options.prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>(rng.below(model.vocab_size)));
  }
  request.problem = static_cast<uint32_t>(index);
  request.samples = samples;
  request.sampling.max_tokens = options.tokens;
  return request;
}

std::vector<Group> bench_groups(const Policy& policy, const BenchOptions& options, Sampler& sampler,
                                Tickets& tickets) {
  std::vector<GenerationRequest> requests;
  requests.reserve(static_cast<size_t>(options.prompts));
  for (int i = 0; i < options.prompts; ++i) {
    requests.push_back(bench_request(policy.config(), options, i, options.samples));
  }
  sampler.publish(policy.weights());
  auto samples = sampler.generate(requests, {.tickets = &tickets});
  sampler.publish(nullptr);  // as the training loop
  std::vector<Group> groups(requests.size());
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i].prompt_tokens = requests[i].prompt;
    groups[i].samples = std::move(samples[i]);
    for (size_t s = 0; s < groups[i].samples.size(); ++s) {
      groups[i].samples[s].advantage = s % 2 == 0 ? 1 : -1;  // every sample is trained on
    }
  }
  return groups;
}

int run_bench(const Args& args) {
  BenchOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth bench (--model DIR | --config FILE) [options]", options);
  const Args rest = parse_flags(options, args, "bench");
  if (!rest.empty() || options.model.empty() == options.config.empty()) {
    fail_usage(rest.empty() ? "zeroth bench: give one of --model and --config"
                            : "zeroth bench: unexpected argument \"" + rest[0] + "\"",
               "zeroth bench --model DIR, or --config FILE for random weights");
  }
  options.model = find_shipped(options.model);
  options.config = find_shipped(options.config);
  if (options.ranks > 0) return bench_ranks(options, args);
  const std::unique_ptr<Policy> policy = bench_policy(options);
  const Json out = Bench(*policy, options).run();
  options.json ? static_cast<void>(std::printf("%s\n", out.dump().c_str())) : print_table(out);
  return 0;
}

}  // namespace zeroth
