// What a finished stage leaves, to be compared, and its metrics.
#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "tests/rl/support.h"

namespace zeroth {

// Stages keep no traces.
inline std::map<std::string, std::string> kept(const std::filesystem::path& run) {
  auto files = files_below(run / "checkpoints" / "latest" / "");
  files["metrics"] = metrics_without_timing(run);
  return files;
}

inline std::vector<Json> metric_rows(const std::filesystem::path& run) {
  std::vector<Json> rows;
  std::ifstream file(run / "metrics.jsonl");
  for (std::string line; std::getline(file, line);) rows.push_back(parse_json(line, "metrics"));
  return rows;
}

}  // namespace zeroth
