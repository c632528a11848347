#include "stages/pipeline_summary.h"

#include <algorithm>
#include <cstdio>
#include <vector>

namespace zeroth {
namespace {

// The number at a path of keys; false where there is none (JSON has null for what is not finite).
bool number_at(const Json& json, std::initializer_list<const char*> keys, double& out) {
  const Json* at = &json;
  for (const char* key : keys) {
    const auto found = at->is_object() ? at->find(key) : at->end();
    if (!at->is_object() || found == at->end()) return false;
    at = &*found;
  }
  if (!at->is_number()) return false;
  out = at->get<double>();
  return true;
}

std::string number(double value, double scale) {
  char text[64];
  std::snprintf(text, sizeof text, "%.1f", value * scale);
  return text;
}

std::string plain(const Json& result, const char* key, double scale, const char* unit) {
  double value = 0;
  return number_at(result, {key}, value) ? number(value, scale) + unit : "-";
}

// "87.3% (84.9 to 89.4)".
std::string measure(const Json& result, const char* name, double scale, const char* unit) {
  double mean = 0;
  if (!number_at(result, {"measures", name, "mean"}, mean)) return "-";
  std::string out = number(mean, scale) + unit;
  const Json& ends = result["measures"][name].value("ci95", Json());
  if (!ends.is_array() || ends.size() != 2) return out;
  const auto end = [&](size_t i) {
    return ends[i].is_number() ? number(ends[i].get<double>(), scale) : std::string("?");
  };
  return out + " (" + end(0) + " to " + end(1) + ")";
}

using Row = std::vector<std::string>;

Row row_of(const StageResult& stage) {
  const Json& r = stage.result;
  return {stage.name,
          measure(r, "accuracy", 100, "%"),
          measure(r, "format", 100, "%"),
          measure(r, "language", 100, "%"),
          measure(r, "length", 1, ""),
          measure(r, "right_length", 1, ""),
          plain(r, "truncated", 100, "%"),
          plain(r, "tokens_per_correct", 1, "")};
}

}  // namespace

std::string summary_table(std::span<const StageResult> results) {
  std::vector<Row> rows = {{"after", "accuracy", "format", "language", "tokens",
                            "tokens of right answers", "cut off", "tokens a right answer"}};
  for (const StageResult& stage : results) rows.push_back(row_of(stage));
  std::vector<size_t> widths(rows[0].size(), 0);
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i)
      text += "| " + row[i] + std::string(widths[i] - row[i].size() + 1, ' ');
    text += "|\n";
    if (&row != &rows[0]) continue;
    for (const size_t width : widths) text += "|" + std::string(width + 2, '-');
    text += "|\n";
  }
  return text;
}

Json summary_json(std::span<const StageResult> results) {
  Json rows = Json::array();
  for (const StageResult& stage : results) {
    Json row = {{"after", stage.name}};
    for (const char* key : {"measures", "truncated", "tokens_per_correct"})
      row[key] = stage.result.value(key, Json());
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace zeroth
