// Shared by the files that implement RunView; not for others.
#pragma once

#include <atomic>
#include <optional>

#include "inspect/metrics_file.h"
#include "inspect/run_view.h"

namespace zeroth {

struct RunView::Impl {
  Impl(const std::filesystem::path& dir, const std::vector<std::filesystem::path>& word_lists);

  std::filesystem::path run_dir;
  std::mutex mutex;  // of everything below except what the indexer owns
  MetricsFile metrics;
  std::unique_ptr<TraceReader> reader;  // null: the run has no traces
  std::unique_ptr<Task> task;
  std::string no_task;  // why candidate answers cannot be graded
  std::unique_ptr<SampleScanner> scanner;
  std::unique_ptr<Database> db;  // for queries
  Json config;                   // RUN/config.json, or null
  std::filesystem::file_time_type config_written{};
  bool running = false;  // at the last update

  std::mutex index_mutex;
  std::unique_ptr<TraceReader> index_reader;
  std::unique_ptr<TraceIndex> index;
  std::atomic<int64_t> indexed{0};
  std::atomic<int64_t> to_index{0};

  // Takes new judgements over into the index. Hold index_mutex.
  void index_judgements();
  // Reads config.json when it was written since; true when it was.
  bool read_config();
  // Opens the traces when they have appeared since.
  void open_traces();
  void need_traces() const;
  std::vector<std::string> extra_fields() const;

  struct GroupRow {
    int64_t id = 0, step = 0, index = 0, offset = 0, first_sample = 0, n = 0, correct = 0;
    int64_t failed = 0;
    GroupSource source = GroupSource::kTrain;
    bool zero = false;
    double reward = 0;
    std::string task, problem;
  };
  // Rows of `groups` under a WHERE clause whose integers are bound in order.
  std::vector<GroupRow> group_rows(const std::string& where, const std::vector<int64_t>& values);
  std::optional<GroupRow> find_group(const SampleAddress& address);
  const TraceEntry& entry_at(int64_t offset) const;
  std::vector<std::pair<int64_t, StepStats>> step_stats(GroupSource source);
  // Runs `each` over the matches of a compiled query; see RunView::search.
  struct Match {
    int64_t sample_id = 0, offset = 0;
    SampleAddress address;
  };
  std::vector<Match> matches(const CompiledQuery& query, const std::string& order, int64_t limit,
                             int64_t offset, int64_t* total);
};

// The index speaks of samples that the stream does not hold.
[[noreturn]] void fail_stale();

// Without throwing away what UTF-8 cannot hold: control characters and broken bytes stay visible on
// the page.
Json sample_summary(const Sample& sample, const SampleScan& scan);
std::string clipped(std::string_view text, size_t bytes);
// What a judge said of a sample, or null.
Json judgement_json(const std::filesystem::path& run_dir, const SampleAddress& address,
                    const std::string& text);

}  // namespace zeroth
