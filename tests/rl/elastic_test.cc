// async.max_staleness: sampling that never waits, within its bound, and the same bytes again from
// the journal.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/json_lines.h"
#include "rl/journal.h"
#include "rl/train_loop.h"
#include "support.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

RunConfig elastic_run(const fs::path& base, int staleness, bool switches) {
  RunConfig config = tiny_run(base);
  config.steps = 8;
  config.async.max_staleness = staleness;
  config.async.switch_in_flight = switches;
  config.loss.decoupled = true;
  // Each token keeps the experts of the weights that drew it.
  config.trainer.router_replay = config.engine.record_experts = switches;
  config.engine.max_batch = 10;
  config.probe.every = 3;
  config.evaluation.every = 4;
  config.evaluation.problems = 4;
  return config;
}

// Takes its time over every token, so that samples are on their way when the weights change.
class SlowSampler : public Sampler {
 public:
  explicit SlowSampler(Sampler& sampler) : sampler_(sampler) {}
  void publish(WeightsPtr weights) override { sampler_.publish(std::move(weights)); }
  std::vector<std::vector<Sample>> generate(const std::vector<GenerationRequest>& requests,
                                            const GenerateOptions& options) override {
    GenerateOptions slow = options;
    slow.drew = [](int, int, const Sample&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      return true;
    };
    return sampler_.generate(requests, slow);
  }
  const SamplerStats& stats() const override { return sampler_.stats(); }

 private:
  Sampler& sampler_;
};

// A whole run whose samples come slowly.
void run_slowly(const fs::path& folder, const RunConfig& config) {
  const auto run = TrainingRun::create(folder, config);
  SlowSampler slow(*run->parts->sampler);
  run->parts->pipeline = nullptr;  // before the next one opens the journal
  ElasticOptions options;
  options.journal = folder / "journal.jsonl";
  options.most_in_flight = config.engine.max_batch;
  run->parts->pipeline =
      std::make_unique<ElasticPipeline>(*run->parts->rollouts, slow, run->config, options);
  CHECK_FALSE(train(*run).interrupted);
  run->parts->pipeline = nullptr;
}

std::vector<Json> rows_of(const fs::path& run) {
  std::vector<Json> rows;
  for_each_json_line(run / "metrics.jsonl", [&](const Json& row, int64_t) { rows.push_back(row); });
  return rows;
}

std::vector<JournalStep> journal_of(const fs::path& run) {
  JournalReader reader(run / "journal.jsonl");
  std::vector<JournalStep> steps;
  while (auto step = reader.next()) steps.push_back(std::move(*step));
  return steps;
}

void check_bounds(const fs::path& run, const RunConfig& config) {
  const auto rows = rows_of(run);
  REQUIRE(static_cast<int64_t>(rows.size()) == config.steps);
  for (const Json& row : rows) {
    CHECK(row.at("sampling/staleness/max") <= config.async.max_staleness);
    CHECK(row.at("sampling/staleness/mean") <= row.at("sampling/staleness/max"));
    CHECK(row.at("sampling/groups_discarded") == 0);
    if (row.at("updates") > 0) CHECK(row.at("sampling/ess") > 0);
    CHECK(row.at("sampling/ess") <= 1);
    CHECK(row.at("sampling/sampling_logp_difference/max") == 0);
  }
  const auto steps = journal_of(run);
  REQUIRE(static_cast<int64_t>(steps.size()) == config.steps);
  std::set<int64_t> draws;
  for (const JournalStep& step : steps) {
    for (const JournalGroup& group : step.groups) CHECK(draws.insert(group.draw).second);
  }
}

// Makes the run again and compares all that it left.
void check_replay(const fs::path& run, const fs::path& again) {
  {
    const auto made = TrainingRun::replay(run, again);
    CHECK_FALSE(train(*made).interrupted);
  }
  CHECK(read_file(again / "journal.jsonl") == read_file(run / "journal.jsonl"));
  CHECK(metrics_without_timing(again) == metrics_without_timing(run));
  CHECK(files_below(again / "traces") == files_below(run / "traces"));
  for (const char* name : {"model.safetensors", "optimizer.bin"}) {
    const fs::path file = fs::path("checkpoints") / "latest" / name;
    CHECK(read_file(again / file) == read_file(run / file));
  }
}

TEST_CASE("elastic sampling: nothing is too old or thrown away, and a replay gives equal bytes") {
  TemporaryFolder folder;
  const fs::path base = make_tiny_base(folder.path() / "base");
  bool switched = false, stale = false;
  for (const int staleness : {1, 3}) {
    for (const bool switches : {false, true}) {
      CAPTURE(staleness);
      CAPTURE(switches);
      const RunConfig config = elastic_run(base, staleness, switches);
      const std::string name = std::to_string(staleness) + (switches ? "switch" : "");
      const fs::path run = folder.path() / name;
      run_slowly(run, config);
      check_bounds(run, config);
      check_replay(run, folder.path() / (name + "again"));
      for (const JournalStep& step : journal_of(run)) {
        for (const JournalGroup& group : step.groups) {
          for (const SamplePlan& plan : group.samples) {
            switched = switched || (switches && plan.versions.size() > 1);
            CHECK((switches || plan.versions.size() == 1));
            stale = stale || plan.versions[0].version < step.weights;
          }
        }
      }
    }
  }
  CHECK(switched);
  CHECK(stale);
}

TEST_CASE("elastic sampling: what was stopped goes on, and what was killed is made again") {
  TemporaryFolder folder;
  RunConfig config = elastic_run(make_tiny_base(folder.path() / "base"), 2, true);
  config.checkpoint_every = 3;
  for (const int stop_at : {1, 4}) {
    CAPTURE(stop_at);
    const std::string name = "stopped" + std::to_string(stop_at);
    const fs::path run = folder.path() / name, killed = folder.path() / (name + "killed");
    std::atomic<bool> stop{false};
    {
      auto first = TrainingRun::create(run, config);
      train(*first, &stop, [&](int64_t finished, int64_t) {
        // What a kill would leave: the journal and the metrics are ahead of the checkpoint.
        if (finished == (stop_at == 1 ? 1 : 5) && !fs::exists(killed)) {
          fs::copy(run, killed, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
        }
        stop = finished >= stop_at && stop_at == 1;
      });
    }
    train(*TrainingRun::resume(run, config));
    check_bounds(run, config);
    check_replay(run, folder.path() / (name + "again"));

    const auto before = journal_of(killed);
    const std::string rows = metrics_without_timing(killed);
    {
      auto second = TrainingRun::resume(killed, config);
      CHECK(second->first_step < static_cast<int64_t>(before.size()));
      train(*second);
    }
    check_bounds(killed, config);
    const auto after = journal_of(killed);
    for (size_t i = 0; i < before.size(); ++i) CHECK(after[i] == before[i]);
    CHECK(metrics_without_timing(killed).starts_with(rows));
    check_replay(killed, folder.path() / (name + "killedagain"));
  }
}

TEST_CASE("elastic sampling with dynamic sampling and a curriculum") {
  TemporaryFolder folder;
  RunConfig config = elastic_run(make_tiny_base(folder.path() / "base"), 2, false);
  config.curriculum.mode = "prioritised";
  config.curriculum.pool = 40;
  config.dynamic_sampling.max_rounds = 2;
  config.samples_per_prompt = 2;
  config.sampling.max_tokens = 3;
  config.overlong.buffer = 2;
  const fs::path run = folder.path() / "run";
  train(*TrainingRun::create(run, config));
  check_bounds(run, config);
  bool dropped = false;
  for (const JournalStep& step : journal_of(run)) {
    for (const JournalGroup& group : step.groups) dropped = dropped || group.dropped;
  }
  CHECK(dropped);
  check_replay(run, folder.path() / "again");
}

TEST_CASE("a damaged journal is refused, and nothing is lost") {
  TemporaryFolder folder;
  RunConfig config = elastic_run(make_tiny_base(folder.path() / "base"), 1, false);
  config.steps = 4;
  const fs::path run = folder.path() / "run";
  train(*TrainingRun::create(run, config));
  const fs::path file = run / "journal.jsonl";
  const std::string good = read_file(file);
  config.steps = 6;
  const auto refused = [&](const std::string& bytes, const char* why) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
    auto before = files_below(run);
    CHECK_THROWS_WITH_AS(TrainingRun::resume(run, config), doctest::Contains(why), Error);
    CHECK_THROWS_WITH_AS(TrainingRun::replay(run, folder.path() / "again"), doctest::Contains(why),
                         Error);
    fs::remove_all(folder.path() / "again");
    auto after = files_below(run);
    before.erase("lock");
    after.erase("lock");
    CHECK(before == after);
  };
  std::string flipped = good;
  flipped[good.size() / 2] ^= 1;
  refused(flipped, "journal.jsonl:");
  refused(good.substr(good.find('\n') + 1), "journal.jsonl:1");
  refused(good.substr(0, good.size() / 2), "checkpoint");
  refused("", "journal.jsonl");
  std::ofstream(file, std::ios::binary | std::ios::trunc) << good;
  train(*TrainingRun::resume(run, config));
  CHECK(journal_of(run).size() == 6);
  // Steps that were added moved the schedule: the run is not one config any more.
  CHECK_THROWS_WITH_AS(TrainingRun::replay(run, folder.path() / "again"),
                       doctest::Contains("steps"), Error);
}

TEST_CASE("a run that is changed goes on from its checkpoint, not from its journal") {
  TemporaryFolder folder;
  RunConfig config = elastic_run(make_tiny_base(folder.path() / "base"), 3, false);
  config.checkpoint_every = 4;
  const fs::path run = folder.path() / "run", killed = folder.path() / "killed";
  {
    auto first = TrainingRun::create(run, config);
    train(*first, nullptr, [&](int64_t finished, int64_t) {
      if (finished == 6)
        fs::copy(run, killed, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    });
  }
  config.async.max_staleness = 1;
  config.optimizer.lr = 5e-4;
  ResumeOptions options;
  options.changed = {"async.max_staleness", "optimizer.lr"};
  {
    auto second = TrainingRun::resume(killed, config, options);
    CHECK(second->first_step == 4);
    train(*second);
  }
  const auto rows = rows_of(killed);
  REQUIRE(rows.size() == 8);
  for (size_t step = 5; step < 8; ++step) CHECK(rows[step].at("sampling/staleness/max") <= 1);
  CHECK(journal_of(killed).size() == 8);
}

TEST_CASE("elastic sampling is refused beside a lag, and a replay without a journal") {
  TemporaryFolder folder;
  RunConfig config = elastic_run(make_tiny_base(folder.path() / "base"), 1, false);
  config.async.lag = 1;
  CHECK_THROWS_WITH_AS(check_run_config(config), doctest::Contains("async.lag"), Error);
  config.async = {};
  config.async.switch_in_flight = true;
  CHECK_THROWS_WITH_AS(check_run_config(config), doctest::Contains("switch_in_flight"), Error);
  config.async = {};
  config.steps = 1;
  train(*TrainingRun::create(folder.path() / "run", config));
  CHECK_THROWS_WITH_AS(TrainingRun::replay(folder.path() / "run", folder.path() / "again"),
                       doctest::Contains("async.max_staleness"), Error);
}

}  // namespace
}  // namespace zeroth
