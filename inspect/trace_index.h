// The searchable index of a trace store: an SQLite file beside the stream that holds a row per
// sample with what the scanners found, full-text search, and the sums of every step. It is a cache:
// it belongs to the readers, the run never touches it, and it can be rebuilt from the stream at any
// time.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "inspect/sqlite.h"
#include "record/trace_store.h"
#include "scan/scanners.h"
#include "scan/step_stats.h"

namespace zeroth {

// The tables (docs/traces.md has the columns):
//   samples(id, grp, reward, adv, len, flags, wr, aha, refl, rest)
//   groups(id, step, idx, source, problem, offset, first_sample, n, zero, reward, correct, failed)
//   problems(id, task, name)
//   steps(step, source, stats)
//   texts (FTS5)
//   extra(sample, field, value)
// Samples are numbered in stream order, those of a group without a gap; steps never decrease with
// them.

// Numbers of samples.rest, in the order of pack_counts; kWords is the first of the built-in lists.
enum class PackedField {
  kEntropy,  // mean per token, in thousandths
  kLogprob,  // the same of -log p
  kRepetition,
  kCandidates,
  kFirst,  // tokens before the first right candidate + 1; 0: none
  kWrongToWrong,
  kWords,
  kRightToRight = kWords + 7,
  kRightToWrong,
  kSwitches,
  kCount
};
// Rewards and advantages are whole millionths: three bytes instead of eight.
inline constexpr double kRewardScale = 1e6;

// What full-text search looks at: the completion, and what plug-ins said about it (the fact "said" of
// its verdicts), a line each.
std::string searchable_text(const Sample& sample);

class TraceIndex {
 public:
  // Opens or creates the index at index_file(run_dir). One of ours that has another format or
  // scanner version, or is damaged, is dropped and started anew.
  TraceIndex(const std::filesystem::path& run_dir, const SampleScanner& scanner);
  ~TraceIndex();

  // Indexes what the reader has and the index has not, in batches, each one transaction; blocks
  // until caught up or until progress(done, total) returns false. Another process may be doing the
  // same. Returns the number of groups added.
  int64_t update(TraceReader& reader,
                 const std::function<bool(int64_t done, int64_t total)>& progress = {});
  // Drops everything; the next update() starts from the first record.
  void clear();

  Database& db();
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The sums of a step as the index stores them. Throws Error when they cannot be read.
StepStats stored_stats(const std::string& text);

// The layout of recorded routing from the run record; all 0 when it is not there or is no layout.
ExpertShape expert_shape(const Json& run_info);

// Makes the task of a run from the stream's run record; null when there is none or it cannot be
// made (a data file is gone), with the reason in *why.
std::unique_ptr<Task> task_of_run(const Json& run_info, std::string* why);

}  // namespace zeroth
