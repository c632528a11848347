// What becomes of a run's folder between a stop and a resumption, and what a resumption may change.
#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "core/interrupted.h"
#include "core/json_lines.h"
#include "rl/inputs.h"
#include "rl/recording_gaps.h"
#include "rl/train_loop.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

Left run_through(const RunConfig& config, const fs::path& folder) {
  train(*TrainingRun::create(folder, config));
  return left_by(folder);
}

Json history_of(const fs::path& run) { return read_run_notes(run).history; }

// A task over a file of the test's own.
RunConfig file_run(const fs::path& folder) {
  RunConfig config = tiny_run(make_tiny_base(folder / "base"));
  std::ofstream rows(folder / "rows.jsonl");
  for (int i = 0; i < 40; ++i)
    rows << Json{{"prompt", std::to_string(i) + "+1="}, {"answer", std::to_string(i + 1)}} << "\n";
  config.task.name = "jsonl";
  config.task.options = {{"path", (folder / "rows.jsonl").string()}, {"template", "bare"}};
  return config;
}

}  // namespace

TEST_CASE("a stop during evaluation or sampling gives the step up and saves the one before") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.curriculum.mode = "prioritised";
  config.checkpoint_every = 100;
  config.evaluation.every = 3;
  config.evaluation.problems = 8;
  const Left straight = run_through(config, folder.path() / "straight");
  const fs::path path = folder.path() / "run";
  std::atomic<bool> stop{false};
  {
    auto run = TrainingRun::create(path, config);
    // Set after step 2 was recorded, so it is met by the evaluation of step 3.
    const auto summary = train(*run, &stop, [&](int64_t finished, int64_t) {
      if (finished == 3) stop = true;
    });
    CHECK(summary.interrupted);
    CHECK(summary.steps == 3);
  }
  CHECK(newest_checkpoint(path)->step == 3);
  // A stop that is there before sampling begins leaves the counters as they were.
  {
    auto run = TrainingRun::resume(path, config);
    int64_t draws = run->counters.draws;
    const Json before = run->parts->rollouts->curriculum_state();
    CHECK_THROWS_AS(run->parts->rollouts->collect(3, draws, &stop), Interrupted);
    CHECK(draws == run->counters.draws);
    CHECK(run->parts->rollouts->curriculum_state() == before);
    CHECK(train(*run, &stop).steps == 3);
  }
  train(*TrainingRun::resume(path, config));
  CHECK(left_by(path) == straight);
}

TEST_CASE("a run that lost its checkpoints is refused, and nothing of it is touched") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const fs::path path = folder.path() / "run";
  run_through(config, path);
  fs::rename(path / "checkpoints", folder.path() / "elsewhere");
  const auto before = files_below(path);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config), doctest::Contains("6 rows"), Error);
  fs::create_directories(path / "checkpoints");  // not mounted
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config), doctest::Contains("checkpoints"), Error);
  fs::remove(path / "config.json");
  CHECK_THROWS_WITH_AS(TrainingRun::create(path, config), doctest::Contains("--resume"), Error);
  fs::resize_file(path / "metrics.jsonl", 0);  // the traces remain
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config), doctest::Contains("recorded groups"),
                       Error);
  fs::rename(folder.path() / "elsewhere", path / "checkpoints");
  CHECK_THROWS_WITH_AS(TrainingRun::create(path, config), doctest::Contains("checkpoints"), Error);
  auto after = files_below(path);
  for (const auto& [name, content] : before) {
    if (name == "config.json" || name == "metrics.jsonl") continue;
    CAPTURE(name);
    CHECK(after[name] == content);
  }
}

TEST_CASE("a damaged line of metrics.jsonl costs no row behind it") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const fs::path path = folder.path() / "run";
  run_through(config, path);
  std::string text = read_file(path / "metrics.jsonl");
  text[text.find('\n') + 3] = '\0';
  text.pop_back();  // an editor took the last line feed
  write_file_atomic(path / "metrics.jsonl", text);
  config.steps = 7;
  train(*TrainingRun::resume(path, config));
  const std::string longer = read_file(path / "metrics.jsonl");
  CHECK(longer.starts_with(text + "\n"));
  CHECK(std::count(longer.begin(), longer.end(), '\n') == 7);
}

TEST_CASE("a file of the task that changed since is named and refused, unless it is accepted") {
  TemporaryFolder folder;
  const RunConfig config = file_run(folder.path());
  const fs::path path = folder.path() / "run";
  {
    RunConfig shorter = config;
    shorter.steps = 2;
    run_through(shorter, path);
  }
  CHECK(history_of(path).size() == 1);
  std::ofstream(folder.path() / "rows.jsonl", std::ios::app)
      << Json{{"prompt", "one more"}, {"answer", "1"}} << "\n";
  const auto before = files_below(path);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config), doctest::Contains("rows.jsonl"), Error);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, config),
                       doctest::Contains("--accept-changed-data"), Error);
  CHECK(files_below(path) == before);
  train(*TrainingRun::resume(path, config, {.changed = {}, .accept_changed_data = true}));
  const Json history = history_of(path);
  REQUIRE(history.size() == 2);
  CHECK(history[1].at("step") == 2);
  CHECK(history[1].at("inputs").dump().find("rows.jsonl") != std::string::npos);
  CHECK(history[1].at("changes") == Json{{"steps", {2, 6}}});
  // From here on the new file is the run's.
  CHECK_NOTHROW(TrainingRun::resume(path, config));
  CHECK(history_of(path) == history);
}

TEST_CASE("files are found wherever options name them") {
  TemporaryFolder folder;
  for (const char* name : {"a", "b", "c", "d"}) std::ofstream(folder.path() / name) << name;
  const std::string at = folder.path().string() + "/";
  const Json options = {
      {"path", at + "a"},
      {"command", {"/usr/bin/env", at + "b"}},
      {"problems", "jsonl:path=" + at + "c,template=bare"},
      {"parts", Json::array({{{"options", {{"command", "python3 " + at + "d x"}}}}})},
      {"missing", at + "e"},
      {"folder", folder.path().string()}};
  CHECK(named_files(options) == std::vector<std::string>{at + "a", at + "b", at + "c", at + "d"});
}

TEST_CASE("what alarms advise may be changed on resume, and is recorded") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 2;
  const fs::path path = folder.path() / "run";
  run_through(config, path);
  RunConfig other = config;
  other.steps = 4;
  other.optimizer.lr = 1e-5;
  other.loss.beta = 0.1;
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, other), doctest::Contains("--change"), Error);
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, other, {.changed = {"optimizer"}}),
                       doctest::Contains("loss.beta"), Error);
  train(*TrainingRun::resume(path, other, {.changed = {"optimizer.lr", "loss.beta"}}));
  Json history = history_of(path);
  REQUIRE(history.size() == 2);
  CHECK(history[1].at("changes").size() == 3);
  CHECK(history[1].at("changes").at("loss.beta") == Json{0, 0.1});
  CHECK(history[1].at("changes").at("optimizer.lr") == Json{1e-3, 1e-5});
  CHECK(history[1].at("changes").at("steps") == Json{2, 4});
  std::vector<Json> rows;
  for_each_json_line(path / "metrics.jsonl",
                     [&](const Json& row, int64_t) { rows.push_back(row); });
  REQUIRE(rows.size() == 4);
  CHECK(rows[1].at("learning_rate") == 1e-3);
  CHECK(rows[2].at("learning_rate") == 1e-5);
  CHECK(!rows[1].contains("kl"));
  // The reference of a KL term that comes later is the base, from which two steps have led away.
  CHECK(rows[2].at("kl").get<double>() > 0);
  // The changed config is the run's from here on.
  CHECK_NOTHROW(TrainingRun::resume(path, recorded_config(path, {})));
  CHECK(history_of(path) == history);

  // Fewer steps than are made, and a config that lacks fields which are newer than it.
  RunConfig fewer = recorded_config(path, {});
  fewer.steps = 3;
  CHECK_THROWS_WITH_AS(TrainingRun::resume(path, fewer), doctest::Contains("has made 4 steps"),
                       Error);
  Json older = read_json_file(path / "config.json");
  older["loss"].erase("entropy_coef");
  write_file_atomic(path / "config.json", older.dump());
  CHECK_NOTHROW(TrainingRun::resume(path, recorded_config(path, {})));
}

TEST_CASE("what keeps the bits may change on resume") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const Left straight = run_through(config, folder.path() / "straight");
  const fs::path path = folder.path() / "run";
  RunConfig first = config;
  first.steps = 3;
  run_through(first, path);
  config.trainer.reuse_mb = 0;
  config.trainer.recompute = true;
  config.trainer.micro_batch_tokens = 500;
  config.engine.max_batch = 2;
  train(*TrainingRun::resume(path, config));
  CHECK(left_by(path).checkpoint == straight.checkpoint);
  CHECK(left_by(path).traces == straight.traces);
}

TEST_CASE("a run whose folder goes away ends with an error") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  for (const std::string how : {"removed", "renamed", "replaced"}) {
    CAPTURE(how);
    const fs::path path = folder.path() / how;
    auto run = TrainingRun::create(path, config);
    const auto go = [&](int64_t finished, int64_t) {
      if (finished != 1 || fs::exists(folder.path() / (how + "-moved"))) return;
      if (how == "removed") fs::remove_all(path);
      if (how != "removed") fs::rename(path, folder.path() / (how + "-moved"));
      if (how == "replaced") fs::create_directories(path);
    };
    CHECK_THROWS_WITH_AS(train(*run, nullptr, go), doctest::Contains("was removed, renamed"),
                         Error);
    run.reset();
    CHECK(!fs::exists(path / "checkpoints"));  // nothing new appears in its place
    if (how == "removed") continue;
    train(*TrainingRun::resume(folder.path() / (how + "-moved"), config));
  }
}

TEST_CASE("metrics and traces that lack steps of the checkpoint are said") {
  TemporaryFolder folder;
  const RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const fs::path path = folder.path() / "run";
  run_through(config, path);
  CHECK(recording_gaps(path, 6, config.record).empty());
  const std::string text = read_file(path / "metrics.jsonl");
  const size_t second = text.find('\n') + 1, third = text.find('\n', second) + 1;
  write_file_atomic(path / "metrics.jsonl", text.substr(0, second) + "garbage\n" +
                                                text.substr(third) +
                                                text.substr(text.rfind('\n', text.size() - 2) + 1));
  fs::resize_file(path / "traces" / "stream.zst",
                  fs::file_size(path / "traces" / "stream.zst") / 2);
  const auto gaps = recording_gaps(path, 6, config.record);
  REQUIRE(gaps.size() == 4);
  CHECK(gaps[0].ends_with("has no row of step 1"));
  CHECK(gaps[1].ends_with("has two rows of step 5"));
  CHECK(gaps[2].ends_with("has 1 lines that are no rows"));
  CHECK(gaps[3].find("hold no samples of step") != std::string::npos);
}
