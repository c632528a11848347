// A tiny base checkpoint over bytes, folders that clean up behind themselves, and a run that has
// something to learn from with random weights.
#pragma once

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

#include "core/files.h"
#include "core/temporary_folder.h"
#include "policy/policy.h"
#include "rl/run_config.h"

namespace zeroth {

inline const std::filesystem::path kTinyBase = "tests/data/tiny_base";

inline std::unique_ptr<Policy> tiny_policy(uint64_t seed = 5) {
  return Policy::init(PolicyConfig::from_file(kTinyBase / "config.json"), seed);
}

// A checkpoint folder with random weights and the byte tokenizer.
inline std::filesystem::path make_tiny_base(const std::filesystem::path& folder,
                                            uint64_t seed = 5) {
  std::filesystem::create_directories(folder);
  tiny_policy(seed)->save(folder);
  for (const char* name : {"tokenizer.json", "generation_config.json"}) {
    std::filesystem::copy_file(kTinyBase / name, folder / name);
  }
  return folder;
}

// Random weights never solve the task, so the reward is the length: many bytes end a completion,
// and the overlong punishment grows with every token.
inline RunConfig tiny_run(const std::filesystem::path& base) {
  RunConfig config;
  config.model = base.string();
  config.task.name = "parity";
  config.task.options = {{"bits", 4}};
  config.seed = 11;
  config.steps = 6;
  config.prompts_per_step = 3;
  config.samples_per_prompt = 4;
  config.sampling.max_tokens = 12;
  for (char c = 'a'; c <= 'z'; ++c) config.sampling.stop.push_back(std::string(1, c));
  config.overlong.buffer = 11;
  config.optimizer.lr = 1e-3;
  config.trainer.micro_batch_tokens = config.trainer.leaf_tokens = 64;
  config.checkpoint_every = 2;
  config.record.progress = false;
  return config;
}

// Content of every file below a folder, by relative path.
inline std::map<std::string, std::string> files_below(const std::filesystem::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    files[std::filesystem::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return files;
}

// metrics.jsonl without what may differ between equal runs.
inline std::string metrics_without_timing(const std::filesystem::path& run) {
  std::ifstream file(run / "metrics.jsonl");
  std::string text, line;
  while (std::getline(file, line)) {
    Json row = parse_json(line, "metrics");
    row.erase("timing");
    text += row.dump() + "\n";
  }
  return text;
}

// What a finished run leaves, to be compared byte for byte.
struct Left {
  std::map<std::string, std::string> checkpoint, traces;
  std::string metrics;
  bool operator==(const Left&) const = default;
};

inline Left left_by(const std::filesystem::path& run) {
  return {files_below(run / "checkpoints" / "latest" / ""), files_below(run / "traces"),
          metrics_without_timing(run)};
}

}  // namespace zeroth
