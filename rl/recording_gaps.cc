#include "rl/recording_gaps.h"

#include <algorithm>
#include <cstdint>

#include "core/files.h"
#include "core/json_text.h"
#include "record/trace_store.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// "step 3", "steps 3 to 7 and 9 more": the first run of true entries and how many others there are.
std::string first_steps(const std::vector<bool>& missing) {
  const auto begin = std::find(missing.begin(), missing.end(), true);
  const auto end = std::find(begin, missing.end(), false);
  const auto first = begin - missing.begin(), last = end - missing.begin() - 1;
  const auto more = std::count(end, missing.end(), true);
  std::string text = first == last
                         ? "step " + std::to_string(first)
                         : "steps " + std::to_string(first) + " to " + std::to_string(last);
  if (more > 0) text += " and " + std::to_string(more) + " more";
  return text;
}

bool any(const std::vector<bool>& steps) {
  return std::find(steps.begin(), steps.end(), true) != steps.end();
}

void look_at_metrics(const fs::path& path, int64_t steps, std::vector<std::string>& found) {
  std::vector<bool> missing(steps, true), twice(steps, false);
  int64_t damaged = 0;
  if (fs::is_regular_file(path)) {
    for_each_line(path, [&](std::string_view line, int64_t) {
      const auto row = try_parse_json(line);
      if (!row || !row->is_object() || !row->contains("step") ||
          !row->at("step").is_number_integer()) {
        ++damaged;
        return;
      }
      const auto at = row->at("step").get<int64_t>();
      if (at < 0 || at >= steps) return;
      twice[at] = !missing[at];
      missing[at] = false;
    });
  }
  if (any(missing)) found.push_back(path.string() + " has no row of " + first_steps(missing));
  if (any(twice)) found.push_back(path.string() + " has two rows of " + first_steps(twice));
  if (damaged > 0)
    found.push_back(path.string() + " has " + std::to_string(damaged) + " lines that are no rows");
}

void look_at_traces(const fs::path& folder, int64_t steps, const RecordConfig& record,
                    std::vector<std::string>& found) {
  std::vector<bool> missing(steps, false);
  for (int64_t step = 0; step < steps; ++step)
    missing[step] = step <= 1 || step % record.trace_every == 0;
  const TraceReader reader(folder);
  for (const TraceEntry& entry : reader.groups()) {
    if (entry.source == GroupSource::kTrain && entry.step < steps) missing[entry.step] = false;
  }
  if (any(missing))
    found.push_back(folder.string() + " hold no samples of " + first_steps(missing));
  uint64_t bytes = 0;
  for (const TraceDamage& damage : reader.damage()) bytes += damage.bytes;
  if (bytes > 0) {
    found.push_back(folder.string() + " have " + std::to_string(bytes) +
                    " damaged bytes, the first at " +
                    std::to_string(reader.damage().front().offset));
  }
}

}  // namespace

std::vector<std::string> recording_gaps(const fs::path& run, int64_t steps,
                                        const RecordConfig& record) {
  std::vector<std::string> found;
  if (steps <= 0) return found;
  look_at_metrics(run / "metrics.jsonl", steps, found);
  if (record.traces) look_at_traces(run / "traces", steps, record, found);
  return found;
}

}  // namespace zeroth
