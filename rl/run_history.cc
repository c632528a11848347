#include "rl/run_history.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/version.h"
#include "rl/inputs.h"
#include "rl/recording_gaps.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

Json history_entry(const std::string& event, int64_t step) {
  return {{"event", event},
          {"step", step},
          {"time", utc_time()},
          {"version", version_string()},
          {"git", git_revision()}};
}

// A schedule depends on the number of steps, so another number moves the rate of the next step.
void say_learning_rate(const Json& recorded, const RunConfig& config, int64_t step) {
  RunConfig before;
  load_config(before, recorded, "the recorded config");
  const double was =
      learning_rate(before.optimizer, std::min(step, before.steps - 1), before.steps);
  const double now = learning_rate(config.optimizer, step, config.steps);
  if (was == now) return;
  std::fprintf(stderr, "the learning rate of the next step is %.4g instead of %.4g\n", now, was);
}

void say_changes(const Json& changes) {
  for (const auto& [name, values] : changes.items()) {
    std::fprintf(stderr, "%s: %s, now %s\n", name.c_str(), values[0].dump().c_str(),
                 values[1].dump().c_str());
  }
}

}  // namespace

void RunHistory::begin(RunConfig config, Json inputs, const fs::path& replay_of) {
  notes_.inputs = std::move(inputs);
  notes_.history = {history_entry("started", 0)};
  if (!replay_of.empty()) notes_.history[0]["replay_of"] = fs::absolute(replay_of).string();
  write_run_config(folder_, dump_config(config), notes_);
}

void RunHistory::check_inputs(Json inputs, bool may_change, bool leads) {
  const auto lines = changed_inputs(notes_.inputs, inputs);
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  if (!lines.empty() && !may_change) {
    fail("what " + folder_.string() + " reads is not what it was started with:" + text,
         "bring it back, or go on with what is there now, which is recorded in the run's history: "
         "--accept-changed-data");
  }
  if (!lines.empty() && leads) {
    std::fprintf(stderr, "changed since the run was started:%s\n", text.c_str());
    changed_inputs_ = lines;
  }
  notes_.inputs = std::move(inputs);
}

void RunHistory::resume(const Json& recorded, RunConfig config, int64_t first_step) {
  Json wanted = dump_config(config);
  Json entry = history_entry("resumed", first_step);
  if (recorded.is_object()) entry["changes"] = config_changes(recorded, wanted);
  if (!changed_inputs_.empty()) entry["inputs"] = changed_inputs_;
  const Json before = notes_.provenance.is_object() ? notes_.provenance : Json::object();
  for (const char* name : {"version", "git"}) {
    if (before.value(name, std::string()) == entry.value(name, std::string())) entry.erase(name);
  }
  const bool same = !entry.contains("changes") || entry["changes"].empty();
  if (same) {
    entry.erase("changes");
  } else {
    say_changes(entry["changes"]);
    say_learning_rate(recorded, config, first_step);
  }
  if (!same || inputs_changed() || entry.contains("version") || entry.contains("git"))
    notes_.history.push_back(std::move(entry));
  for (const std::string& line : recording_gaps(folder_, first_step, config.record))
    std::fprintf(stderr, "%s\n", line.c_str());
  write_run_config(folder_, std::move(wanted), notes_);
}

void RunHistory::refuse_changes() const {
  static const std::vector<std::string> harmless = {"model",
                                                    "fleet",
                                                    "engine.max_batch",
                                                    "engine.cache_pages",
                                                    "engine.cache_mb",
                                                    "engine.prefill_chunk",
                                                    "engine.longest_first",
                                                    "engine.draft_tokens",
                                                    "engine.draft_batch",
                                                    "engine.draft_mb",
                                                    "record.progress",
                                                    "record.print_every",
                                                    "checkpoint_every",
                                                    "keep_last",
                                                    "keep_every",
                                                    "trainer.micro_batch_tokens",
                                                    "trainer.reuse_mb",
                                                    "trainer.recompute"};
  for (const Json& entry : notes_.history) {
    std::string what = entry.contains("inputs") ? "files that it reads" : "";
    const Json changes = entry.value("changes", Json::object());
    for (const auto& [name, values] : changes.items()) {
      if (!covered(name, harmless)) what = name;
    }
    if (what.empty()) continue;
    fail(folder_.string() + " was changed at step " + entry.value("step", Json()).dump() + ": " +
             what,
         "only runs that kept their config are made again");
  }
}

void RunHistory::refuse_other_inputs(const Json& inputs) const {
  for (const std::string& line : changed_inputs(notes_.inputs, inputs)) {
    fail("what " + folder_.string() + " reads is not what it was started with: " + line,
         "bring it back");
  }
}

}  // namespace zeroth
