#include "rl/adapter_runs.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// Parts of a config that may differ: none of them decides which problems are drawn.
const std::set<std::string> kParts = {"advantage", "loss", "lora", "optimizer", "trainer"};
// What one base is in memory, and the folder it is made from.
const std::set<std::string> kShared = {"base"};

bool is_folder_name(const std::string& name) {
  constexpr std::string_view kMarks = "-_.+";
  return !name.empty() && name.size() <= 100 && name[0] != '.' &&
         std::all_of(name.begin(), name.end(), [&](unsigned char c) {
           return (c < 128 && std::isalnum(c)) || kMarks.find(static_cast<char>(c)) != kMarks.npos;
         });
}

std::string name_of_entry(const Json& entry, size_t i) {
  const std::string where = "adapters[" + std::to_string(i) + "]";
  if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string()) {
    fail_usage(where + " is no object with a \"name\"",
               "write {\"name\": \"rank8\", \"lora\": {\"rank\": 8}}");
  }
  const auto name = entry["name"].get<std::string>();
  if (!is_folder_name(name)) {
    fail_usage(where + ".name = \"" + name.substr(0, 120) + "\" cannot be the name of a folder",
               "use letters, digits and - _ . +");
  }
  return name;
}

// `config` with the entry's parts in place.
RunConfig changed(RunConfig config, const Json& entry, const std::string& name) {
  const std::string where = "adapter \"" + name + "\"";
  config.adapters = Json::array();
  Json whole = dump_config(config);
  for (const auto& [part, fields] : entry.items()) {
    if (part == "name") continue;
    if (!kParts.contains(part)) {
      fail_usage(where + " has \"" + part + "\": that is the same for all runs over one base",
                 "give advantage, loss, lora, optimizer or trainer, or start runs of their own");
    }
    if (!fields.is_object())
      fail_usage(where + ": \"" + part + "\" is no object", "write {\"lora\": {\"rank\": 8}}");
    for (const auto& [field, value] : fields.items()) {
      if (part == "lora" && kShared.contains(field)) {
        fail_usage(where + " has lora." + field + ": the base is one for all",
                   "set lora." + field + " of the config");
      }
      whole[part][field] = value;
    }
  }
  RunConfig out;
  load_config(out, whole, where);
  return out;
}

void check_alone(const RunConfig& config) {
  if (config.async.ahead()) {
    fail_usage(
        "adapters with async.lag or async.max_staleness: one of them is sampled and trained "
        "at a time",
        "set both to 0");
  }
  if (!config.fleet.listen.empty())
    fail_usage("adapters with fleet.listen: they sample here, in turns", "leave fleet.listen out");
}

// Between its turns a run holds no weights.
void rest(TrainingRun& run) {
  run.parts->sampler->publish(nullptr);
  run.parts->trainer->rest();
}

void wake(TrainingRun& run) {
  run.parts->trainer->wake();
  run.parts->sampler->publish(run.parts->policy->weights());
}

void write_list(const fs::path& folder, RunConfig config) {
  write_file_atomic(folder / kAdaptersFile, dump_config(config).dump(2) + "\n");
}

}  // namespace

std::vector<AdapterRun> adapter_runs(const RunConfig& config) {
  if (!config.adapters.is_array())
    fail_usage("adapters is no list", "write [{\"name\": \"rank8\", \"lora\": {\"rank\": 8}}]");
  if (config.adapters.empty()) return {};
  check_alone(config);
  std::vector<AdapterRun> runs;
  std::set<std::string> names;
  for (size_t i = 0; i < config.adapters.size(); ++i) {
    const std::string name = name_of_entry(config.adapters[i], i);
    if (!names.insert(name).second)
      fail_usage("adapters: two are called \"" + name + "\"", "give each a name of its own");
    runs.push_back({name, changed(config, config.adapters[i], name)});
    if (!runs.back().config.lora.on()) {
      fail_usage("adapter \"" + name + "\" has lora.rank = 0",
                 "set lora.rank, of the config or of the entry");
    }
    check_run_config(runs.back().config);
  }
  return runs;
}

bool holds_adapter_runs(const fs::path& folder) {
  return fs::is_regular_file(folder / kAdaptersFile);
}

RunConfig recorded_adapters(const fs::path& folder, const std::vector<std::string>& overrides) {
  return read_run_config(folder / kAdaptersFile, overrides);
}

void AdapterRuns::add(const std::string& name, std::unique_ptr<TrainingRun> run) {
  rest(*run);
  run->parts->recorder->set_name(name);
  names_.push_back(name);
  runs_.push_back(std::move(run));
}

std::unique_ptr<AdapterRuns> AdapterRuns::create(const fs::path& folder, const RunConfig& config) {
  const std::vector<AdapterRun> wanted = adapter_runs(config);
  if (holds_adapter_runs(folder)) {
    fail(folder.string() + " already holds runs of adapters",
         "go on with zeroth train --resume " + folder.string() + ", or choose another folder");
  }
  refuse_old_run(folder, "train");
  make_run_folder(folder);
  write_list(folder, config);
  std::unique_ptr<AdapterRuns> all(new AdapterRuns);
  for (const AdapterRun& run : wanted)
    all->add(run.name, TrainingRun::create(folder / run.name, run.config, nullptr, all->base()));
  return all;
}

std::unique_ptr<AdapterRuns> AdapterRuns::resume(const fs::path& folder, const RunConfig& config,
                                                 const ResumeOptions& options) {
  const std::vector<AdapterRun> wanted = adapter_runs(config);
  make_run_folder(folder);
  if (!holds_adapter_runs(folder)) write_list(folder, config);
  std::unique_ptr<AdapterRuns> all(new AdapterRuns);
  for (const AdapterRun& run : wanted) {
    all->add(run.name,
             TrainingRun::resume(folder / run.name, run.config, options, nullptr, all->base()));
  }
  write_list(folder, config);  // not one that a run has refused
  return all;
}

std::vector<TrainSummary> AdapterRuns::train(
    const std::atomic<bool>* stop,
    const std::function<void(int64_t finished, int64_t saved)>& progress) {
  std::vector<std::unique_ptr<TrainLoop>> loops;
  const std::function<void(int64_t, int64_t)> tell = [&](int64_t, int64_t) {
    if (!progress || loops.size() < runs_.size()) return;
    int64_t finished = INT64_MAX, saved = INT64_MAX;
    for (size_t i = 0; i < runs_.size(); ++i) {
      finished = std::min(finished, loops[i]->finished());
      saved = std::min(saved, runs_[i]->saved_step);
    }
    progress(finished, saved);
  };
  for (const auto& run : runs_) loops.push_back(std::make_unique<TrainLoop>(*run, stop, tell));
  const auto next = [&] {
    size_t least = runs_.size();
    for (size_t i = 0; i < loops.size(); ++i) {
      if (!loops[i]->more()) continue;
      if (least == loops.size() || loops[i]->finished() < loops[least]->finished()) least = i;
    }
    return least;
  };
  size_t turn = 0;
  try {
    for (turn = 0; turn < loops.size(); ++turn) loops[turn]->begin();
    while ((turn = next()) < loops.size()) {
      wake(*runs_[turn]);
      const bool made = loops[turn]->once();
      rest(*runs_[turn]);
      if (!made) break;
    }
  } catch (...) {
    for (size_t i = 0; i < loops.size(); ++i) {
      if (i != turn) loops[i]->end();
    }
    throw;
  }
  std::vector<TrainSummary> summaries;
  for (const auto& loop : loops) summaries.push_back(loop->end());
  return summaries;
}

}  // namespace zeroth
