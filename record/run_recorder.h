// Everything that a training run leaves behind to be looked at: metrics.jsonl, TensorBoard events,
// traces, and the progress line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/trajectory.h"
#include "record/trace_store.h"

namespace zeroth {

class Task;

// What is recorded; a field of the run's config.
struct RecordConfig {
  bool traces = true;
  int trace_every = 1;
  int trace_groups = 0;
  bool scan = true;
  bool progress = true;
  int print_every = 0;
  template <class V>
  void fields(V& v) {
    v("traces", traces, "write samples to RUN/traces");
    v("trace_every", trace_every,
      "write the samples of every n-th step; the first is always written", Range{1, 1e9});
    v("trace_groups", trace_groups, "groups written per step; 0 = all", Range{0, 1e9});
    v("scan", scan, "count reflection words, flips and loops in every sample (metrics scan/...)");
    v("progress", progress, "progress line on stderr");
    v("print_every", print_every, "print one group of samples every n steps; 0 = never",
      Range{0, 1e9});
  }
};

struct RecorderOptions {
  RecordConfig record;
  int64_t total_steps = 0;  // for the bar and the ETA; 0: unknown
  Json run_info;  // stored in the trace stream: {"task": {"name", "options"}, ...}; readers grade
                  // candidate answers with that task, and show the rest
  Vocabulary vocabulary;  // bytes of every token id; lets readers show tokens without the tokenizer
  const Task* task = nullptr;  // grades candidate answers when scanning; must outlive the recorder
};

// True for metrics that may differ between two runs that are otherwise the same: "timing/..",
// "..._seconds", "step_time", "..tokens_per_s..", "mfu". They are kept apart, in the object
// "timing" at the end of a row.
bool is_timing_metric(const std::string& name);

// Opens RUN/metrics.jsonl, RUN/tb/ and RUN/traces/ and continues them if they exist. All methods
// throw Error(kFailed) when the disk is full or read-only; none returns before its bytes are handed
// to the system. Not thread safe; hold the run's lock. Except for timings, what is written is a
// pure function of the arguments of the calls.
class RunRecorder {
 public:
  RunRecorder(const std::filesystem::path& run_dir, RecorderOptions options);
  // Records nothing and says nothing: of the ranks of a run but the first.
  RunRecorder();
  ~RunRecorder();

  // Cuts everything back to what it was after record(step): for --resume. step < 0 empties all.
  // What is cut goes to the folder `aside` unless it is empty. Lines of metrics.jsonl that are no
  // rows stay where they are.
  void truncate_to(int64_t step, const std::filesystem::path& aside = {});

  // One finished step. `metrics` is a flat object of numbers under TRL's names; values that are no
  // number are kept in metrics.jsonl and left out of TensorBoard. The row is {"step", metrics..,
  // scan/.., "timing": {..}}.
  void record(int64_t step, const Json& metrics, const std::vector<Group>& groups);

  // Samples that were not trained on, written to the traces only. Call it before record() of the
  // same step.
  // `first` is the number of the first among all groups of this source and step.
  void record_groups(int64_t step, GroupSource source, const std::vector<Group>& groups,
                     int64_t first = 0);

  // What became known about group `group` (position in record's `groups`) of an earlier or this
  // step, one row per sample with one value per token, or a single value: see
  // rl/trace_facts.h. Call it after record().
  void annotate(int64_t step, int64_t group, const std::string& name,
                const std::vector<std::vector<float>>& values);

  // What begins each line on stderr from now on: several runs of one process say whose it is.
  void set_name(std::string name);

  // A line of text on stderr that does not tear the progress bar.
  void note(const std::string& text);

  // fsync of all files: before a checkpoint that relies on them is published.
  void sync();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace zeroth
