#include "inspect/run_set.h"

#include <algorithm>
#include <chrono>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "core/regular_file.h"
#include "inspect/run_state.h"
#include "record/trace_scan.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxOpen = 8;
constexpr size_t kMaxRuns = 1000;
constexpr uint64_t kTail = 256 << 10;

bool is_run(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / "metrics.jsonl", error) ||
         fs::exists(folder / "traces" / kStreamName, error);
}

std::string name_of(const fs::path& folder) {
  std::error_code error;
  const fs::path real = fs::weakly_canonical(folder, error);
  return (error ? folder : real).filename().string();
}

fs::file_time_type written(const fs::path& folder) {
  std::error_code error;
  fs::file_time_type time = fs::last_write_time(folder / "metrics.jsonl", error);
  if (error) time = fs::last_write_time(folder, error);
  return error ? fs::file_time_type::min() : time;
}

Json last_of(const MetricsFile& metrics, const std::string& name) {
  const auto found = metrics.series().find(name);
  if (found == metrics.series().end() || found->second.values.empty()) return nullptr;
  return found->second.values.back();
}

// A file of a folder that anybody may have written; null when it cannot be read.
Json json_of(const fs::path& folder, const char* file) {
  try {
    require_regular_file(folder / file);
    return parse_json(read_file(folder / file, 1 << 20), file, kStoredJson);
  } catch (const Error&) {
    return nullptr;
  }
}

Json config_of(const fs::path& folder) {
  Json config = json_of(folder, "config.json");
  return config.is_object() ? config : Json();
}

std::string text_at(const Json& config, const char* key) {
  const auto found = config.is_object() ? config.find(key) : config.end();
  if (!config.is_object() || found == config.end()) return "";
  if (found->is_string()) return found->get<std::string>().substr(0, 300);
  if (found->is_object() && found->contains("name") && (*found)["name"].is_string())
    return (*found)["name"].get<std::string>().substr(0, 300);
  return "";
}

}  // namespace

struct RunSet::Entry {
  fs::path path;
  std::shared_ptr<RunView> view;
  uint64_t asked = 0;
  // What the list says, as of `when`.
  fs::file_time_type when = fs::file_time_type::min();
  std::unique_ptr<MetricsFile> tail;
  Json config;
};

RunSet::RunSet(const std::vector<fs::path>& paths, std::vector<fs::path> word_lists)
    : word_lists_(std::move(word_lists)) {
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      fail("there is no run folder " + path.string(),
           "give the folder that \"zeroth train --out\" wrote, or one that holds such folders");
    }
    if (is_run(path)) {
      append(path);
      continue;
    }
    const size_t before = entries_.size();
    folders_.push_back(path);
    look_for_runs();
    if (entries_.size() == before) {
      fail(path.string() + " is no run and holds none: no metrics.jsonl, no traces/stream.zst",
           "give the folder that \"zeroth train --out\" wrote, or one that holds such folders");
    }
  }
  if (entries_.empty()) fail_usage("no run was given");
  opened(*entries_[0]);
}

RunSet::~RunSet() = default;

size_t RunSet::append(const fs::path& path) {
  entries_.push_back(std::make_unique<Entry>());
  entries_.back()->path = path;
  return entries_.size() - 1;
}

size_t RunSet::add(const fs::path& run) {
  std::lock_guard lock(mutex_);
  const size_t id = append(run);
  opened(*entries_[id]);  // throws when it is no run
  return id;
}

size_t RunSet::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

void RunSet::look_for_runs() {
  std::vector<fs::path> found;
  for (const fs::path& folder : folders_) {
    std::error_code error;
    for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) {
      const fs::path& path = at->path();
      const bool known = std::any_of(entries_.begin(), entries_.end(),
                                     [&](const auto& entry) { return entry->path == path; });
      if (!known && fs::is_directory(path, error) && is_run(path)) found.push_back(path);
      error.clear();
    }
  }
  std::sort(found.begin(), found.end(), [](const fs::path& a, const fs::path& b) {
    const auto x = written(a);
    const auto y = written(b);
    return x != y ? x > y : a < b;
  });
  for (const fs::path& path : found) {
    if (entries_.size() >= kMaxRuns) return;
    append(path);
  }
}

Json RunSet::list() {
  std::lock_guard lock(mutex_);
  look_for_runs();
  Json out = Json::array();
  for (size_t id = 0; id < entries_.size(); ++id) {
    Entry& entry = *entries_[id];
    const auto now = written(entry.path);
    if (!entry.tail || now != entry.when) {
      entry.tail = std::make_unique<MetricsFile>(entry.path / "metrics.jsonl", kTail);
      entry.tail->refresh();
      entry.config = config_of(entry.path);
      entry.when = now;
    }
    const Json state = run_state(entry.path, entry.config, *entry.tail);
    const auto age = fs::file_time_type::clock::now() - now;
    out.push_back({{"id", id},
                   {"name", name_of(entry.path)},
                   {"path", entry.path.string()},
                   {"state", state["state"]},
                   {"why", state["why"]},
                   {"done", state["done"]},
                   {"steps", state["steps"]},
                   {"eta_s", state["eta_s"]},
                   {"task", text_at(entry.config, "task")},
                   {"model", text_at(entry.config, "model")},
                   {"reward", last_of(*entry.tail, "reward")},
                   {"held_out", last_of(*entry.tail, "eval/pass@1")},
                   {"age_s", std::chrono::duration<double>(age).count()}});
  }
  return out;
}

Json RunSet::stages() const {
  Json out = Json::array();
  for (const fs::path& folder : folders_) {  // which never change
    std::error_code error;
    if (!fs::exists(folder / "summary.json", error)) continue;
    Json rows = json_of(folder, "summary.json");
    if (!rows.is_array() || rows.empty()) continue;
    out.push_back(
        {{"name", name_of(folder)}, {"path", folder.string()}, {"rows", std::move(rows)}});
  }
  return out;
}

std::shared_ptr<RunView> RunSet::opened(Entry& entry) {
  if (!entry.view) entry.view = std::make_shared<RunView>(entry.path, word_lists_);
  entry.asked = ++asked_;
  // Those that nobody has asked for lately are closed; who still reads one keeps it.
  std::vector<Entry*> open;
  for (size_t i = 1; i < entries_.size(); ++i) {
    if (entries_[i]->view) open.push_back(entries_[i].get());
  }
  if (open.size() > kMaxOpen) {
    const auto oldest = std::min_element(open.begin(), open.end(),
                                         [](Entry* a, Entry* b) { return a->asked < b->asked; });
    (*oldest)->view.reset();
  }
  return entry.view;
}

std::shared_ptr<RunView> RunSet::view(size_t id) {
  std::lock_guard lock(mutex_);
  if (id >= entries_.size()) fail_usage("there is no run " + std::to_string(id));
  return opened(*entries_[id]);
}

bool RunSet::update(const std::function<bool(int64_t, int64_t)>& progress) {
  std::vector<std::shared_ptr<RunView>> open;
  {
    std::lock_guard lock(mutex_);
    for (const auto& entry : entries_) {
      if (entry->view) open.push_back(entry->view);
    }
  }
  bool changed = false;
  for (const auto& view : open) changed = view->update(progress) || changed;
  return changed;
}

}  // namespace zeroth
