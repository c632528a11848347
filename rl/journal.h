// RUN/journal.jsonl: which groups each step was trained on, and which weights drew their tokens.
//
// With async.max_staleness this depends on timing, so it is written down before the update that it
// describes changes anything: journal and checkpoints determine every byte of the run. A sample is
// a function of (weights of its segments, prompt, key), so the journal holds no tokens.
//
// One JSON object a line:
//   {"step": N, "weights": VERSION, "groups": [{"draw", "problem", "sha256", "samples", ..}, ..],
//    "chain": SHA-256 of the chain before it and of the line up to ","chain"}
//   draw      number of the problem among all that the run has drawn; the samples' keys are
//             {seed, draw / prompts_per_step, draw % prompts_per_step, index}
//   problem   its index in the training split
//   skipped   draws before it whose prompts were left out, when there are any
//   dropped   true: it had no signal and dynamic sampling replaced it
//   sha256    the first 16 digits of that of the samples (digest_of)
//   samples   [tokens, first, version, first, version, ..] each: tokens from `first` on were drawn
//             by weights of that version
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/files.h"
#include "core/trajectory.h"
#include "rollout/resample.h"

namespace zeroth {

struct JournalGroup {
  int64_t draw = 0, problem = 0;
  std::vector<int64_t> skipped;
  bool dropped = false;
  std::string digest;
  std::vector<SamplePlan> samples;
  bool operator==(const JournalGroup&) const = default;
};

struct JournalStep {
  int64_t step = 0;
  WeightsVersion weights = 0;  // of the policy when the step begins
  std::vector<JournalGroup> groups;
  bool operator==(const JournalStep&) const = default;
};

// Of tokens, log-probs and entropies of every sample, to the bit.
std::string digest_of(const std::vector<Sample>& samples);

// A line without its line feed, and the chain that the next one goes on from ("" at first).
std::string journal_line(const JournalStep& step, std::string& chain);
// Throws Error that says what is wrong, for anything but a line that follows `chain` and is of step
// `step` (-1: any). Bounded: a line has at most kMaxJournalLine bytes.
JournalStep parse_journal_line(std::string_view line, int64_t step, std::string& chain);
inline constexpr size_t kMaxJournalLine = size_t{64} << 20;

// Reads a journal line by line: steps that follow each other, from any on. What a kill has left of the last line is passed over: its update
// was never made. Anything else that is wrong is an Error that names file, line and fault.
class JournalReader {
 public:
  // A file that is missing holds no steps.
  explicit JournalReader(const std::filesystem::path& path);
  std::optional<JournalStep> next();
  // Of the lines that next() has given: their bytes and their chain.
  uint64_t bytes() const { return bytes_; }
  const std::string& chain() const { return chain_; }

 private:
  std::filesystem::path path_;
  std::ifstream file_;
  int64_t step_ = -1, line_ = 0;  // of the next line; step -1: any
  uint64_t bytes_ = 0;
  std::string chain_;
};

// Appends to a journal; one process at a time. Throws Error on a full or read-only disk.
class JournalWriter {
 public:
  // Goes on behind the first `bytes` bytes, whose chain this is; what follows them is cut off.
  JournalWriter(const std::filesystem::path& path, uint64_t bytes, std::string chain);
  // On the disk when it returns.
  void append(const JournalStep& step);

 private:
  std::string chain_;
  FileWriter file_;
};

}  // namespace zeroth
