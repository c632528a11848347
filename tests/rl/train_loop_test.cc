#include "rl/train_loop.h"

#include <doctest/doctest.h>

#include <bit>
#include <fstream>

#include "core/error.h"
#include "core/json_lines.h"
#include "core/parallel.h"
#include "record/trace_store.h"
#include "rl/run_folder.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

Left run_through(const RunConfig& config, const fs::path& folder) {
  auto run = TrainingRun::create(folder, config);
  train(*run);
  run.reset();
  return left_by(folder);
}

std::vector<Json> rows_of(const fs::path& run) {
  std::vector<Json> rows;
  for_each_json_line(run / "metrics.jsonl", [&](const Json& row, int64_t) { rows.push_back(row); });
  return rows;
}

}  // namespace

TEST_CASE("a run: exact log-probs, learning, metrics under their names") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  auto run = TrainingRun::create(folder.path() / "run", config);
  const TrainSummary summary = train(*run);
  CHECK(summary.steps == 6);
  CHECK(summary.max_logp_difference == 0);
  const auto rows = rows_of(folder.path() / "run");
  REQUIRE(rows.size() == 6);
  for (size_t step = 0; step < rows.size(); ++step) {
    CHECK(rows[step].at("step") == step);
    for (const char* name : {"reward",
                             "reward_std",
                             "frac_reward_zero_std",
                             "loss",
                             "policy_loss",
                             "grad_norm",
                             "learning_rate",
                             "entropy",
                             "num_tokens",
                             "epoch",
                             "completions/mean_length",
                             "completions/min_length",
                             "completions/max_length",
                             "completions/mean_terminated_length",
                             "completions/clipped_ratio",
                             "rewards/overlong/mean",
                             "rewards/overlong/std",
                             "clip_ratio/low_mean",
                             "clip_ratio/high_max",
                             "clip_ratio/region_mean",
                             "sampling/importance_sampling_ratio/mean",
                             "moe/max_vio"}) {
      CAPTURE(name);
      REQUIRE(rows[step].contains(name));
      CHECK(rows[step].at(name).is_number());
    }
    CHECK(rows[step].at("sampling/sampling_logp_difference/max") == 0);
    CHECK(rows[step].at("sampling/sampling_logp_difference/mean") == 0);
    CHECK(rows[step].at("updates") == 1);
    CHECK(rows[step].at("timing").contains("step_time"));
  }
}

TEST_CASE("a run published as bfloat16: exact log-probs of policy and reference, float32 masters") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.policy.weights = "bfloat16";
  config.loss.beta = 0.01;
  auto run = TrainingRun::create(folder.path() / "run", config);
  CHECK(run->parts->policy->weights()->element() == kernels::Element::kBfloat16);
  CHECK(train(*run).max_logp_difference == 0);
  // The reference is the policy at first, to the bit.
  CHECK(rows_of(folder.path() / "run").front().at("kl") == 0);
  run.reset();
  const auto saved = Policy::load(folder.path() / "run" / "checkpoints" / "latest");
  int64_t finer = 0;
  for (const float value : saved->parameters().values()) {
    finer += (std::bit_cast<uint32_t>(value) & 0xffff) != 0;
  }
  CHECK(finer > static_cast<int64_t>(saved->parameters().values().size()) / 2);
  CHECK(read_json_file(folder.path() / "run" / "config.json")["policy"]["weights"] == "bfloat16");
  config.policy.weights = "float32";
  CHECK_THROWS_WITH_AS(TrainingRun::resume(folder.path() / "run", config),
                       doctest::Contains("policy.weights"), Error);
}

TEST_CASE("reward rises when there is something to learn") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 40;
  config.prompts_per_step = 4;
  config.samples_per_prompt = 16;
  config.optimizer.lr = 5e-3;
  config.checkpoint_every = 100;
  auto run = TrainingRun::create(folder.path() / "run", config);
  train(*run);
  const auto rows = rows_of(folder.path() / "run");
  const auto mean = [&](size_t from) {
    double sum = 0;
    for (size_t i = from; i < from + 5; ++i) sum += rows[i].at("reward").get<double>();
    return sum / 5;
  };
  CHECK(mean(35) > mean(0) + 0.15);
}

TEST_CASE("same config and seed: same bytes, with any number of threads; another seed: others") {
  TemporaryFolder folder;
  const RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const int before = num_threads();
  set_num_threads(1);
  const Left one = run_through(config, folder.path() / "one");
  CHECK(one.checkpoint.size() >= 5);
  CHECK(!one.traces.empty());
  set_num_threads(2);
  CHECK(run_through(config, folder.path() / "two") == one);
  set_num_threads(3);
  RunConfig other_batching = config;
  other_batching.engine.max_batch = 3;
  CHECK(run_through(other_batching, folder.path() / "three") == one);
  set_num_threads(before);
  RunConfig other_seed = config;
  other_seed.seed = 12;
  CHECK(run_through(other_seed, folder.path() / "four").metrics != one.metrics);
}

TEST_CASE("interrupted after every step and resumed, a run ends in the same bytes") {
  for (const char* weights : {"float32", "bfloat16"}) {
    CAPTURE(weights);
    TemporaryFolder folder;
    RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
    config.policy.weights = weights;
    config.loss.beta = 0.02;
    config.trainer.reference_refresh = 2;
    config.trainer.mini_batches = 2;
    config.probe = {.every = 2, .problems = 2, .samples = 3};
    const Left straight = run_through(config, folder.path() / "straight");
    const fs::path broken = folder.path() / "broken";
    std::atomic<bool> stop{false};
    const auto one_step = [&](TrainingRun& run) {
      stop = false;
      return train(run, &stop,
                   [&](int64_t finished, int64_t) { stop = finished > run.first_step; });
    };
    CHECK(one_step(*TrainingRun::create(broken, config)).interrupted);
    // The base is not needed any more.
    fs::remove_all(folder.path() / "base");
    int resumed = 0;
    for (; resumed < 20; ++resumed) {
      auto run = TrainingRun::resume(broken, recorded_config(broken, {}));
      CHECK(run->first_step == resumed + 1);
      if (!one_step(*run).interrupted) break;
    }
    CHECK(resumed == 4);
    CHECK(left_by(broken) == straight);
  }
}

TEST_CASE("a process that dies between checkpoints leaves a run that resumes to the same bytes") {
  TemporaryFolder folder;
  const RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const Left straight = run_through(config, folder.path() / "straight");
  // Three steps are recorded, the last checkpoint is of step 2; then more damage as a kill in the
  // middle of a write.
  const fs::path killed = folder.path() / "killed";
  RunConfig shorter = config;
  shorter.steps = 3;
  {
    auto run = TrainingRun::create(killed, shorter);
    train(*run);
  }
  fs::remove_all(killed / "checkpoints" / "step-3");  // latest dangles now
  std::ofstream(killed / "metrics.jsonl", std::ios::app) << "{\"step\": 3, \"rew";
  std::ofstream(killed / "traces" / "stream.zst", std::ios::app) << "half a record";
  auto run = TrainingRun::resume(killed, config);  // steps may change
  CHECK(run->first_step == 2);
  // What stood behind the checkpoint is kept until the next one is safe.
  CHECK(read_file(killed / "set-aside" / "metrics.jsonl").starts_with("{\"step\":2,"));
  CHECK(fs::file_size(killed / "set-aside" / "stream.zst") > 0);
  train(*run);
  run.reset();
  CHECK(!fs::exists(killed / "set-aside"));
  CHECK(left_by(killed) == straight);
}

TEST_CASE("probe problems are sampled with the same draws at their steps and change nothing else") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.record.trace_every = 4;  // thins training samples only
  const Left without = run_through(config, folder.path() / "without");
  config.probe = {.every = 2, .problems = 2, .samples = 3};
  const Left with = run_through(config, folder.path() / "with");
  CHECK(with.checkpoint == without.checkpoint);
  CHECK(rows_of(folder.path() / "with")[2].contains("probe/avg@K"));
  CHECK_FALSE(rows_of(folder.path() / "with")[3].contains("probe/avg@K"));
  const TraceReader reader(folder.path() / "with" / "traces");
  std::map<uint32_t, std::vector<Group>> probes;
  for (const TraceEntry& entry : reader.groups()) {
    if (entry.source == GroupSource::kProbe) probes[entry.step].push_back(reader.read(entry));
  }
  REQUIRE(probes.size() == 4);  // steps 0, 2, 4 and the last, 5
  REQUIRE(probes.count(5) == 1);
  for (const auto& [step, groups] : probes) {
    CAPTURE(step);
    REQUIRE(groups.size() == 2);
    for (size_t g = 0; g < groups.size(); ++g) {
      REQUIRE(groups[g].samples.size() == 3);
      CHECK(groups[g].problem.id == probes[0][g].problem.id);
      for (size_t i = 0; i < 3; ++i) {
        CHECK(groups[g].samples[i].key == probes[0][g].samples[i].key);
        CHECK(!groups[g].samples[i].verdicts.empty());
      }
    }
  }
}

TEST_CASE("a run folder is used by one process, holds one run, and keeps its config") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 1;
  const fs::path path = folder.path() / "run";
  auto run = TrainingRun::create(path, config);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config), doctest::Contains("another process"),
                       Error);
  train(*run);
  run.reset();
  CHECK_THROWS_WITH_AS(TrainingRun::create(path, config), doctest::Contains("--resume"), Error);
  RunConfig other = config;
  other.optimizer.lr = 0.5;
  other.task.options["bits"] = 5;
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, other), doctest::Contains("optimizer.lr"), Error);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, other), doctest::Contains("task.options.bits"),
                       Error);
  CHECK_THROWS_AS(recorded_config(folder.path() / "nothing", {}), Error);
}

TEST_CASE("alarms are recorded, and those that stop the run keep the last good checkpoint") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.overlong.buffer = 0;  // every reward is 0 now
  config.alarms.patience = 2;
  config.alarms.stop_on = {"all_groups_equal"};
  const fs::path path = folder.path() / "run";
  auto run = TrainingRun::create(path, config);
  CHECK_THROWS_WITH_AS(train(*run), doctest::Contains("all_groups_equal"), Error);
  run.reset();
  const auto rows = rows_of(path);
  REQUIRE(rows.size() == 2);
  CHECK(!rows[0].contains("alarms"));
  CHECK(rows[1].at("alarms") == Json{"all_groups_equal"});
  CHECK(newest_checkpoint(path)->step == 2);

  // A fault of the numbers: the weights before it stay, and no checkpoint of the faulty step
  // appears.
  RunConfig faulty = tiny_run(folder.path() / "base");
  faulty.overlong.penalty = 1e308;  // beyond what a config file may say: advantages overflow
  auto broken = TrainingRun::create(folder.path() / "nan", faulty);
  CHECK_THROWS_WITH_AS(train(*broken), doctest::Contains("gradient_nan"), Error);
  broken.reset();
  CHECK(newest_checkpoint(folder.path() / "nan")->step == 0);
}

TEST_CASE("held-out evaluation is recorded beside the steps") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 3;
  config.evaluation.every = 2;
  config.evaluation.problems = 2;
  const fs::path path = folder.path() / "run";
  train(*TrainingRun::create(path, config));
  const auto rows = rows_of(path);
  CHECK(rows[0].contains("eval/pass@1"));
  CHECK(!rows[1].contains("eval/pass@1"));
  CHECK(rows[2].contains("eval/pass@1"));
  // The last row's is of the final weights.
  auto end = TrainingRun::resume(path, config);
  EvalOptions options;
  options.n = 2;
  options.sampling = config.sampling;
  options.seed = config.seed;
  const EvalReport report =
      evaluate(*end->parts->sampler, *end->parts->tokenizer, *end->parts->task, options);
  CHECK(rows[2].at("eval/mean_length") == report.mean_length);
}

TEST_CASE("reinforcement learning never sees a document") {
  // Only stages/ may name the corpus; a config of the trainer has no place for one.
  for (const auto& entry : fs::directory_iterator("rl")) {
    const std::string name = entry.path().filename().string();
    CAPTURE(name);
    const std::string text = read_file(entry.path());
    CHECK(text.find("corpus") == std::string::npos);
    CHECK(text.find("Document") == std::string::npos);
    CHECK(text.find("pretrain.h") == std::string::npos);
  }
  for (const char* file : {"cli/train.cc", "cli/demo.cc"}) {
    if (!fs::exists(file)) continue;
    CHECK(read_file(file).find("corpus") == std::string::npos);
  }
  RunConfig config;
  CHECK(dump_config(config).dump().find("corpus") == std::string::npos);
  CHECK_THROWS_WITH_AS(override_config(config, "corpus.name=\"countdown\""),
                       doctest::Contains("corpus"), Error);
}

TEST_CASE("sampling ahead: step k trains on the weights of step k - lag, whatever interrupts it") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 7;
  config.probe.every = 3;
  config.evaluation.every = 4;
  config.evaluation.problems = 4;
  std::string without_lag;
  for (const int lag : {0, 1, 3}) {
    CAPTURE(lag);
    config.async.lag = lag;
    config.trainer.router_replay = config.engine.record_experts = lag == 3;
    const std::string name = "straight" + std::to_string(lag);
    const Left straight = run_through(config, folder.path() / name);
    if (lag == 0) {
      without_lag = straight.metrics;
      continue;
    }
    CHECK(straight.metrics != without_lag);
    const auto rows = rows_of(folder.path() / name);
    for (int step = 0; step < 7; ++step) {
      CHECK(rows[step].at("sampling/staleness/max") == std::min(step, lag));
      CHECK(rows[step].at("sampling/staleness/mean") == std::min(step, lag));
      if (lag == 3) CHECK(rows[step].at("moe/routing_changed/choices") <= (step > 0 ? 1 : 0));
      CHECK(rows[step].at("sampling/sampling_logp_difference/max") == 0);
    }
    for (const int stop_at : {1, 4}) {
      CAPTURE(stop_at);
      const fs::path run = folder.path() / ("stopped" + std::to_string(10 * lag + stop_at));
      std::atomic<bool> stop{false};
      {
        auto first = TrainingRun::create(run, config);
        CHECK(train(*first, &stop, [&](int64_t finished, int64_t) {
                stop = finished >= stop_at;
              }).interrupted);
      }
      {
        auto second = TrainingRun::resume(run, config);
        CHECK(second->first_step == stop_at);
        train(*second);
      }
      CHECK(left_by(run) == straight);
    }
  }
}
