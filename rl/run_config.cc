#include "rl/run_config.h"

#include "core/error.h"
#include "rl/run_folder.h"
#include "text/jinja/template.h"

namespace zeroth {
namespace {

// Settings under which the samples of a group cannot differ, so that no group ever has a signal.
void refuse_equal_samples(const RunConfig& config) {
  if (config.samples_per_prompt < 2) {
    fail_usage("samples_per_prompt = " + std::to_string(config.samples_per_prompt) +
                   ": advantages compare the samples of one problem, and one alone has none",
               "use 2 or more, for example 16");
  }
  const auto refuse = [](const std::string& field, const std::string& value,
                         const std::string& fix) {
    fail_usage(field + " = " + value + ": the samples of a group are all equal, or nearly so", fix);
  };
  const SamplingConfig& sampling = config.sampling;
  if (sampling.top_k == 1) refuse("sampling.top_k", "1", "use 0 (all tokens) or more than 1");
  if (sampling.min_p >= 1)
    refuse("sampling.min_p", std::to_string(sampling.min_p), "use a value below 1, or 0 for none");
  if (sampling.top_p < 1e-3)
    refuse("sampling.top_p", std::to_string(sampling.top_p), "use a value near 1, or 1 for all");
  if (sampling.temperature > 0 && sampling.temperature < 1e-3)
    refuse("sampling.temperature", std::to_string(sampling.temperature), "use a value near 1");
}

void check_keep_best(const RunConfig& config) {
  const std::string& metric = config.keep_best;
  if (metric.starts_with("eval/") || metric.starts_with("-eval/")) {
    if (config.evaluation.every == 0) {
      fail_usage("keep_best = " + metric + " needs evaluation, and evaluation.every is 0",
                 "set evaluation.every, or choose a metric of training");
    }
  }
}

void check_token_budget(const RunConfig& config) {
  if (config.async.token_budget == 0) return;
  const auto refuse = [&](const std::string& field, const std::string& why,
                          const std::string& fix) {
    fail_usage("async.token_budget = " + std::to_string(config.async.token_budget) + " with " +
                   field + ": " + why,
               fix);
  };
  if (config.async.max_staleness > 0)
    refuse("async.max_staleness = " + std::to_string(config.async.max_staleness),
           "sampling that never waits sets nothing aside",
           "set one of them to 0; async.switch_in_flight lets long samples go on by new weights");
  if (config.dynamic_sampling.max_rounds > 0)
    refuse("dynamic_sampling.max_rounds = " + std::to_string(config.dynamic_sampling.max_rounds),
           "both decide how many groups a step draws", "set one of them to 0");
  if (!config.fleet.listen.empty())
    refuse("fleet.listen", "workers draw samples from their beginning to their end",
           "leave one of them out");
}

void check_async(const RunConfig& config) {
  const AsyncConfig& async = config.async;
  if (async.lag > 0 && async.max_staleness > 0) {
    fail_usage("async.lag = " + std::to_string(async.lag) + " and async.max_staleness = " +
                   std::to_string(async.max_staleness) + " are two ways to sample ahead",
               "set one of them to 0");
  }
  if (async.switch_in_flight && async.max_staleness == 0) {
    fail_usage("async.switch_in_flight is set, and async.max_staleness is 0",
               "set async.max_staleness to 1 or more, or leave the switch out");
  }
  check_token_budget(config);
}

}  // namespace

void check_run_config(const RunConfig& config) {
  config.shaping.check();
  config.lora.check();
  config.advantage.check();
  if (config.advantage.baseline == "pass_at_k" &&
      config.advantage.pass_k > config.samples_per_prompt) {
    fail_usage("advantage.pass_k = " + std::to_string(config.advantage.pass_k) +
                   " is above samples_per_prompt = " + std::to_string(config.samples_per_prompt),
               "choose k from 1 to the samples of a problem");
  }
  const bool distils = !config.distill.teacher.empty();
  const std::string by_token =
      distils ? "distill.teacher"
              : "advantage.supervision = \"" + config.advantage.supervision + "\"";
  if ((distils || config.advantage.supervision_kind() != Supervision::kOutcome) &&
      !(config.loss.rule().by_token() && config.loss.level() == Level::kToken)) {
    fail_usage(by_token +
                   " gives every token an advantage of its own, but "
                   "loss.type = \"" +
                   config.loss.type + "\" with loss.importance_sampling = \"" +
                   config.loss.importance_sampling + "\" has one term a sample",
               "choose a loss of tokens, such as \"dapo\" with \"token\"");
  }
  if (distils && config.distill.reward_weight == 0 && config.dynamic_sampling.max_rounds > 0) {
    fail_usage(
        "dynamic_sampling.max_rounds = " + std::to_string(config.dynamic_sampling.max_rounds) +
            " with a teacher alone: groups whose rewards are equal teach as much as others",
        "set it to 0, or distill.reward_weight above 0");
  }
  refuse_equal_samples(config);
  check_keep_best(config);
  if (!config.prompt.date.empty()) jinja::parse_date(config.prompt.date, "prompt.date");
  if (config.sampling.temperature <= 0) {
    fail_usage("sampling.temperature = 0: greedy samples of a group are all equal",
               "train with a temperature above 0, for example 1");
  }
  if (config.overlong.buffer >= config.sampling.max_tokens && config.overlong.buffer > 0) {
    fail_usage(
        "overlong.buffer = " + std::to_string(config.overlong.buffer) +
            " is not below sampling.max_tokens = " + std::to_string(config.sampling.max_tokens),
        "choose a smaller buffer or longer completions");
  }
  check_async(config);
  config.loss.check();
  if (config.trainer.reference_refresh > 0 && config.loss.beta == 0) {
    fail_usage("trainer.reference_refresh = " + std::to_string(config.trainer.reference_refresh) +
                   " needs a reference, and loss.beta is 0",
               "set loss.beta above 0, or trainer.reference_refresh to 0");
  }
  if (config.trainer.router_replay && !config.engine.record_experts) {
    fail_usage("trainer.router_replay is set, and engine.record_experts is not",
               "set engine.record_experts: what is not recorded cannot be replayed");
  }
  if (config.trainer.mini_batches > config.prompts_per_step) {
    fail_usage("trainer.mini_batches = " + std::to_string(config.trainer.mini_batches) +
                   " exceeds prompts_per_step = " + std::to_string(config.prompts_per_step),
               "every mini-batch needs at least one group");
  }
}

void check_ranks(const RunConfig& config, int ranks) {
  if (config.trainer.branches < ranks) {
    fail_usage("trainer.branches is " + std::to_string(config.trainer.branches) + " for " +
                   std::to_string(ranks) + " ranks, and each adds at least one",
               "set trainer.branches to at least the largest number of ranks that the run will "
               "have, such as 8; the last bits of the weights depend on it, so it stays");
  }
  if (config.ranks.expert_parallel && config.lora.on()) {
    fail_usage("ranks.expert_parallel with lora: an adapter of experts that are elsewhere",
               "leave ranks.expert_parallel out: with an adapter moments take little memory");
  }
  if (config.ranks.expert_parallel && !config.fleet.listen.empty()) {
    fail_usage(
        "ranks.expert_parallel with fleet.listen: workers have all experts, and no rank does",
        "let the ranks sample (leave fleet.listen out), or leave ranks.expert_parallel out");
  }
  if (config.async.ahead()) {
    fail_usage("async.lag = " + std::to_string(config.async.lag) +
                   " and async.max_staleness = " + std::to_string(config.async.max_staleness) +
                   " with " + std::to_string(ranks) + " ranks: they sample and train in turns",
               "set both to 0, or sample ahead with a fleet and one learner (docs/fleet.md)");
  }
}

RunConfig read_run_config(const std::filesystem::path& file,
                          const std::vector<std::string>& overrides) {
  RunConfig config;
  load_config(config, read_config_file(file), file.string());
  for (const std::string& assignment : overrides) override_config(config, assignment);
  if (config.trainer.router_replay) config.engine.record_experts = true;
  check_run_config(config);
  return config;
}

const std::vector<std::string>& free_fields() {
  static const std::vector<std::string> fields = {"model",
                                                  "steps",
                                                  "device",
                                                  "engine",
                                                  "fleet",
                                                  "ranks",
                                                  "record",
                                                  "checkpoint_every",
                                                  "keep_last",
                                                  "keep_every",
                                                  "keep_best",
                                                  "evaluation",
                                                  "probe",
                                                  "alarms",
                                                  "trainer.micro_batch_tokens",
                                                  "trainer.reuse_mb",
                                                  "trainer.recompute",
                                                  "trainer.patience"};
  return fields;
}

}  // namespace zeroth
