#include "inspect/run_state.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>

#include "core/files.h"
#include "core/json_text.h"
#include "core/system.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

int64_t whole(const Json& json, const char* key, int64_t otherwise) {
  const auto found = json.is_object() ? json.find(key) : json.end();
  return json.is_object() && found != json.end() && found->is_number_integer()
             ? found->get<int64_t>()
             : otherwise;
}

// The newest checkpoint's number of finished steps, -1 when there is none.
int64_t newest_checkpoint(const fs::path& run_dir) {
  int64_t newest = -1;
  std::error_code error;
  for (fs::directory_iterator at(run_dir / "checkpoints", error), end; !error && at != end;
       at.increment(error)) {
    long long step = 0;
    int used = 0;
    const std::string name = at->path().filename().string();
    if (std::sscanf(name.c_str(), "step-%lld%n", &step, &used) == 1 &&
        static_cast<size_t>(used) == name.size())
      newest = std::max<int64_t>(newest, step);
  }
  return newest;
}

Json median_step_time(const MetricsFile& metrics) {
  const auto found = metrics.series().find("timing/step_time");
  if (found == metrics.series().end() || found->second.values.empty()) return nullptr;
  const auto& all = found->second.values;
  std::vector<double> last(all.end() - static_cast<int64_t>(std::min<size_t>(50, all.size())),
                           all.end());
  std::nth_element(last.begin(), last.begin() + static_cast<int64_t>(last.size() / 2), last.end());
  return last[last.size() / 2];
}

// A small JSON file of the run; null when it is missing, no regular file, too long or malformed.
Json small_file(const fs::path& file, uint64_t max_bytes) {
  struct stat info;
  if (::lstat(file.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) return nullptr;
  try {
    return parse_json(read_file(file, max_bytes), file.string(), kStoredJson);
  } catch (const std::exception&) {
    return nullptr;
  }
}

// What the trainer wrote about its end in RUN/state.json; null when it is not about the last row.
Json recorded_end(const fs::path& run_dir, int64_t done) {
  Json state = small_file(run_dir / "state.json", 64 << 10);
  return state.is_object() && whole(state, "step", -1) == done ? state : Json(nullptr);
}

std::string text_field(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found != json.end() && found->is_string() ? found->get<std::string>() : "";
}

// The alarm that stopped the run: it rang at the last step and the config says that it stops.
std::string stopping_alarm(const Json& config, const MetricsFile& metrics) {
  std::set<std::string> stops;
  const Json alarms = config.is_object() ? config.value("alarms", Json()) : Json();
  const Json names = alarms.is_object() ? alarms.value("stop_on", Json()) : Json();
  if (names.is_array()) {
    for (const Json& name : names) {
      if (name.is_string()) stops.insert(name.get<std::string>());
    }
  }
  for (auto alarm = metrics.alarms().rbegin(); alarm != metrics.alarms().rend(); ++alarm) {
    if (metrics.steps().empty() || alarm->step != metrics.steps().back()) break;
    if (stops.contains(alarm->name)) return alarm->name;
  }
  return "";
}

}  // namespace

Json fleet_state(const fs::path& run_dir) {
  const Json state = small_file(run_dir / "fleet" / "status.json", 4 << 20);
  return state.is_object() ? state : Json(nullptr);
}

bool is_running(const fs::path& run_dir) { return system::is_flocked(run_dir / "lock"); }

Json run_state(const fs::path& run_dir, const Json& config, const MetricsFile& metrics) {
  const int64_t steps = whole(config, "steps", 0);
  const int64_t done = metrics.steps().empty() ? 0 : metrics.steps().back() + 1;
  Json out = {{"state", "unknown"}, {"why", ""},        {"done", done},
              {"steps", steps},     {"eta_s", nullptr}, {"step_s", median_step_time(metrics)}};
  const auto is = [&](const char* state, const std::string& why = "") {
    out["state"] = state;
    out["why"] = why;
    return out;
  };
  if (is_running(run_dir)) {
    if (out["step_s"].is_number() && steps > done)
      out["eta_s"] = out["step_s"].get<double>() * static_cast<double>(steps - done);
    return is("running");
  }
  if (steps == 0) return out;
  if (done >= steps) return is("finished");
  if (const std::string alarm = stopping_alarm(config, metrics); !alarm.empty())
    return is("stopped", "alarm " + alarm);
  const int64_t saved = newest_checkpoint(run_dir);
  if (const Json end = recorded_end(run_dir, done); end.is_object()) {
    constexpr size_t kMaxWhy = 500;
    const std::string by = text_field(end, "by").substr(0, kMaxWhy);
    if (text_field(end, "state") == "failed") return is("failed", by);
    if (text_field(end, "state") == "stopped" && !by.empty() && saved >= done)
      return is("interrupted", "by " + by + ", saved at step " + std::to_string(saved));
  }
  if (saved >= done) return is("interrupted", "saved at step " + std::to_string(saved));
  if (saved < 0) return is("killed", "before its first checkpoint");
  return is("killed", std::to_string(done - saved) + " steps after its last checkpoint, " +
                          std::to_string(saved));
}

Json alarm_list(const MetricsFile& metrics) {
  std::map<std::string, Json> by_name;
  for (const MetricsFile::Alarm& alarm : metrics.alarms()) {
    Json& entry = by_name[alarm.name];
    if (entry.is_null()) {
      entry = {
          {"name", alarm.name}, {"times", 0}, {"first", alarm.step}, {"last", 0}, {"message", ""}};
    }
    entry["times"] = entry["times"].get<int64_t>() + 1;
    entry["last"] = alarm.step;
    if (!alarm.message.empty()) entry["message"] = alarm.message;
  }
  std::vector<Json> list;
  for (auto& [name, entry] : by_name) list.push_back(std::move(entry));
  std::stable_sort(list.begin(), list.end(), [](const Json& a, const Json& b) {
    return a["last"].get<int64_t>() > b["last"].get<int64_t>();
  });
  return Json(list);
}

}  // namespace zeroth
