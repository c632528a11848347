#include "rl/run_folder.h"

#include <algorithm>
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "core/version.h"
#include "kernels/ops.h"
#include "record/trace_store.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr char kProvenance[] = "provenance";

void compare(const Json& a, const Json& b, const std::string& prefix,
             const std::vector<std::string>& free, std::vector<std::string>& names) {
  for (const auto& [key, value] : a.items()) {
    const std::string name = prefix + key;
    if (std::find(free.begin(), free.end(), name) != free.end()) continue;
    if (!b.contains(key)) {
      names.push_back(name);
    } else if (value.is_object() && b.at(key).is_object()) {
      compare(value, b.at(key), name + ".", free, names);
    } else if (value != b.at(key)) {
      names.push_back(name);
    }
  }
}

// What metrics and traces hold, in words; empty when that is nothing.
std::string recorded_steps(const fs::path& folder) {
  const fs::path metrics = folder / "metrics.jsonl";
  if (fs::is_regular_file(metrics)) {
    int64_t rows = 0;
    for_each_line(metrics, [&](std::string_view line, int64_t) { rows += !line.empty(); });
    if (rows > 0) return std::to_string(rows) + " rows in " + metrics.string();
  }
  const fs::path traces = folder / "traces";
  if (fs::exists(traces / "stream.zst") && fs::file_size(traces / "stream.zst") > 0) {
    const size_t groups = TraceReader(traces).groups().size();
    if (groups > 0) return std::to_string(groups) + " recorded groups in " + traces.string();
  }
  return "";
}

}  // namespace

const fs::path& make_run_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail("cannot create the run folder " + folder.string() + ": " + error.message(),
         "choose another folder with --out");
  }
  return folder;
}

bool holds_run(const fs::path& folder) { return fs::exists(folder / "config.json"); }

void refuse_old_run(const fs::path& folder, const std::string& command) {
  std::string what;
  if (!holds_run(folder)) {
    what = has_checkpoints(folder) ? "checkpoints" : recorded_steps(folder);
    if (what.empty()) return;
    what = " without config.json: there are " + what;
  }
  fail(folder.string() + " already holds a run" + what,
       "go on with zeroth " + command + (what.empty() ? "" : " CONFIG.json") + " --resume " +
           folder.string() + ", or choose another folder with --out");
}

std::optional<TrainingCheckpoint> checkpoint_to_resume(const fs::path& folder,
                                                       const std::string& command) {
  auto checkpoint = newest_checkpoint(folder);
  if (checkpoint) return checkpoint;
  const std::string recorded = recorded_steps(folder);
  if (recorded.empty()) return std::nullopt;
  fail(folder.string() + " has no checkpoint, but " + recorded +
           ": its checkpoints were lost, moved or are not mounted",
       "bring " + (folder / "checkpoints").string() + " back and resume, or start again in another " +
           "folder with zeroth " + command + " CONFIG.json --out NEW; nothing was changed");
}

void say_passed_over(const TrainingCheckpoint& checkpoint) {
  for (const std::string& fault : checkpoint.passed_over)
    std::fprintf(stderr, "passed over: %s\n", fault.c_str());
  if (checkpoint.passed_over.empty()) return;
  std::fprintf(stderr, "going on from %s; the damaged ones stay until the next checkpoint is safe\n",
               checkpoint.folder.c_str());
}

fs::path set_aside_folder(const fs::path& folder) { return folder / "set-aside"; }

void write_run_config(const fs::path& folder, Json config) {
  config[kProvenance] = {{"version", version_string()},
                         {"git", git_revision()},
                         {"numeric_contract", kernels::contract_hash()},
                         {"isa", kernels::isa()}};
  write_file_atomic(folder / "config.json", config.dump(2) + "\n");
}

Json read_config_file(const fs::path& file) {
  Json json = read_json_file(file);
  if (json.is_object()) json.erase(kProvenance);
  return json;
}

void refuse_other_run(const fs::path& folder, const Json& wanted,
                      const std::vector<std::string>& free) {
  std::vector<std::string> names;
  // Both directions: a free-form option may be missing on either side.
  const Json recorded = read_config_file(folder / "config.json");
  compare(recorded, wanted, "", free, names);
  std::vector<std::string> added;
  compare(wanted, recorded, "", free, added);
  for (const std::string& name : added) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return;
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  fail_usage(
      folder.string() + " was started with another value of: " + list,
      "resume without changing it, or start a new run from its last checkpoint: --set model=" +
          (folder / "checkpoints" / "latest").string() + " --out NEW");
}

}  // namespace zeroth
