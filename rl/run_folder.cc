#include "rl/run_folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>

#include "core/error.h"
#include "core/files.h"
#include "core/version.h"
#include "kernels/ops.h"
#include "model/formats/provenance.h"
#include "record/trace_store.h"
#include "rl/run_origin.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr char kProvenance[] = "provenance";
constexpr char kInputs[] = "inputs";
constexpr char kHistory[] = "history";

// Fields of `a` that `b` has not or has with another value; with `missing_only` the former.
void compare(const Json& a, const Json& b, const std::string& prefix, bool missing_only,
             std::vector<std::string>& names) {
  for (const auto& [key, value] : a.items()) {
    const std::string name = prefix + key;
    if (!b.contains(key)) {
      names.push_back(name);
    } else if (value.is_object() && b.at(key).is_object()) {
      compare(value, b.at(key), name + ".", missing_only, names);
    } else if (!missing_only && value != b.at(key)) {
      names.push_back(name);
    }
  }
}

// The value at "a.b.c"; null when there is none.
Json value_at(const Json& json, const std::string& name) {
  const size_t dot = name.find('.');
  const std::string key = name.substr(0, dot);
  // A free-form option's own name may hold dots.
  if (json.is_object() && json.contains(name)) return json.at(name);
  if (!json.is_object() || !json.contains(key)) return nullptr;
  return dot == std::string::npos ? json.at(key) : value_at(json.at(key), name.substr(dot + 1));
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
       "bring " + (folder / "checkpoints").string() +
           " back and resume, or start again in another " + "folder with zeroth " + command +
           " CONFIG.json --out NEW; nothing was changed");
}

void say_passed_over(const TrainingCheckpoint& checkpoint) {
  for (const std::string& fault : checkpoint.passed_over)
    std::fprintf(stderr, "passed over: %s\n", fault.c_str());
  if (checkpoint.passed_over.empty()) return;
  std::fprintf(stderr,
               "going on from %s; the damaged ones stay until the next checkpoint is safe\n",
               checkpoint.folder.c_str());
}

fs::path set_aside_folder(const fs::path& folder) { return folder / "set-aside"; }

void write_run_config(const fs::path& folder, Json config, const RunNotes& notes) {
  std::error_code ignored;
  config[kProvenance] = {{"version", version_string()},
                         {"git", git_revision()},
                         {"numeric_contract", kernels::contract_hash()},
                         {"isa", kernels::isa()},
                         {"directory", fs::current_path(ignored).string()}};
  if (!notes.inputs.is_null()) config[kInputs] = notes.inputs;
  if (!notes.history.empty()) config[kHistory] = notes.history;
  write_file_atomic(folder / "config.json", config.dump(2) + "\n");
}

Json read_config_file(const fs::path& file) {
  Json json = read_json_file(file);
  if (!json.is_object()) return json;
  for (const char* note : {kProvenance, kInputs, kHistory}) json.erase(note);
  return json;
}

RunNotes read_run_notes(const fs::path& folder) {
  RunNotes notes;
  if (!holds_run(folder)) return notes;
  const Json json = read_json_file(folder / "config.json");
  if (!json.is_object()) return notes;
  notes.provenance = json.value(kProvenance, Json());
  notes.inputs = json.value(kInputs, Json());
  notes.history = json.value(kHistory, Json::array());
  if (!notes.history.is_array()) notes.history = Json::array();
  return notes;
}

bool enter_run_directory(const fs::path& folder, const std::vector<std::string>& files) {
  const RunNotes notes = read_run_notes(folder);
  if (!notes.provenance.is_object()) return false;
  const Json directory = notes.provenance.value("directory", Json());
  if (!directory.is_string()) return false;
  const fs::path there = directory.get<std::string>();
  for (const std::string& name : files) {
    std::error_code error;
    if (name.empty() || fs::path(name).is_absolute() || fs::exists(name, error)) continue;
    if (!fs::exists(there / name, error)) continue;
    fs::current_path(there, error);
    if (error) return false;
    std::fprintf(stderr, "working in %s, where the run was started: %s is there\n", there.c_str(),
                 name.c_str());
    return true;
  }
  return false;
}

bool enter_run_directory(const fs::path& folder) {
  const RunNotes notes = read_run_notes(folder);
  if (!notes.inputs.is_object()) return false;
  const Json files = notes.inputs.value("files", Json());
  if (!files.is_object()) return false;
  std::vector<std::string> names;
  for (const auto& [name, facts] : files.items()) names.push_back(name);
  return enter_run_directory(folder, names);
}

void refuse_other_command(const fs::path& folder, const std::string& command) {
  const fs::path checkpoint = folder / "checkpoints" / "latest";
  if (!fs::exists(checkpoint / kProvenanceFile)) return;
  const Json stages = stages_of(checkpoint);
  const std::string maker = stages.empty() ? "" : stages.back().value("made_by", std::string());
  for (const char* other : {"pretrain", "train", "sft", "dpo"}) {
    if (maker != other || maker == command) continue;
    fail_usage(folder.string() + " is a run of zeroth " + maker + ", not of zeroth " + command,
               "zeroth " + maker + " --resume " + folder.string());
  }
}

std::vector<std::string> differing_fields(const Json& a, const Json& b) {
  std::vector<std::string> names;
  // Both directions: a free-form option may be missing on either side.
  compare(a, b, "", false, names);
  compare(b, a, "", true, names);
  return names;
}

bool covered(const std::string& name, const std::vector<std::string>& names) {
  return std::any_of(names.begin(), names.end(), [&](const std::string& known) {
    return name == known || name.starts_with(known + ".");
  });
}

Json config_changes(const Json& recorded, const Json& wanted) {
  Json changes = Json::object();
  for (const std::string& name : differing_fields(recorded, wanted))
    changes[name] = {value_at(recorded, name), value_at(wanted, name)};
  return changes;
}

namespace {

void refuse_differing(const fs::path& folder, const Json& recorded, const Json& wanted,
                      const std::vector<std::string>& free, const std::vector<std::string>& changed,
                      bool has_change) {
  std::string list, first;
  for (const std::string& name : differing_fields(recorded, wanted)) {
    if (covered(name, free) || covered(name, changed)) continue;
    if (first.empty()) first = name;
    list += (list.empty() ? "" : ", ") + name;
  }
  if (list.empty()) return;
  const std::string change =
      has_change ? "change the run from here on, which is recorded in its history: --change " +
                       first + "=" + value_at(wanted, first).dump() + "; or "
                 : std::string();
  fail_usage(folder.string() + " was started with another value of: " + list,
             "resume without changing it; or " + change +
                 "start a new run from its last checkpoint: --set model=" +
                 (folder / "checkpoints" / "latest").string() + " --out NEW");
}

}  // namespace

void refuse_other_run(const fs::path& folder, const Json& recorded, const Json& wanted,
                      const std::vector<std::string>& free,
                      const std::vector<std::string>& changed) {
  refuse_differing(folder, recorded, wanted, free, changed, true);
}

void refuse_other_stage(const fs::path& folder, const Json& recorded, const Json& wanted,
                        const std::vector<std::string>& free) {
  refuse_differing(folder, recorded, wanted, free, {}, false);
}

std::string utc_time() {
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return stamp;
}

void write_run_state(const fs::path& folder, const std::string& state, const std::string& by,
                     int64_t step, int64_t steps) {
  try {
    const Json json = {{"state", state}, {"by", by},          {"step", step},
                       {"steps", steps}, {"pid", ::getpid()}, {"time", utc_time()}};
    write_file_atomic(folder / "state.json",
                      json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
  } catch (const std::exception&) {
    // A full disk or a folder that is gone has an error of its own.
  }
}

FolderWatch::FolderWatch(const fs::path& folder) : folder_(folder) {
  struct stat info {};
  if (::stat((folder_ / "lock").c_str(), &info) != 0) return;
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

bool FolderWatch::gone() const {
  struct stat info {};
  return ::stat((folder_ / "lock").c_str(), &info) != 0 || info.st_dev != device_ ||
         info.st_ino != inode_;
}

void FolderWatch::check() const {
  if (!gone()) return;
  fail("the run's folder " + folder_.string() +
           " was removed, renamed, replaced or unmounted while the run was using it; nothing was "
           "written since the last step before that",
       "bring the folder back and resume: what it held then is all there");
}

}  // namespace zeroth
