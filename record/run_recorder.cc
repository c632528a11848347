#include "record/run_recorder.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "core/cut_file.h"
#include "core/error.h"
#include "core/json_lines.h"
#include "core/json_text.h"
#include "core/parallel.h"
#include "core/terminal.h"
#include "record/progress.h"
#include "record/tensorboard.h"
#include "scan/scanners.h"
#include "scan/step_stats.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const char* part) { return text.find(part) != text.npos; }

bool ends_with(const std::string& text, std::string_view end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

void make_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail("cannot create " + folder.string() + ": " + error.message(),
         "give an output folder that this user may write to");
  }
}

// Drops the rows of later steps and a half-written last one. The rows are in step order, so one cut
// does it. A damaged line says nothing about its step and must not cost the good rows behind it.
void truncate_rows(const fs::path& path, int64_t step, const fs::path& aside) {
  if (!fs::exists(path)) return;
  const std::string content = read_file(path, uint64_t{1} << 34);
  size_t keep = 0;
  while (keep < content.size()) {
    const size_t end = content.find('\n', keep);
    if (end == std::string::npos) break;
    const auto row = try_parse_json(std::string_view(content).substr(keep, end - keep));
    if (row && row->is_object()) {
      const auto of = row->find("step");
      if (of != row->end() && of->is_number_integer() && of->get<int64_t>() > step) break;
    }
    keep = end + 1;
  }
  cut_file(path, keep, aside);
}

double number_or(const Json& row, const char* key, double otherwise) {
  const auto found = row.find(key);
  return found != row.end() && found->is_number() ? found->get<double>() : otherwise;
}

bool is_correct(const Sample& sample) {
  return std::any_of(sample.verdicts.begin(), sample.verdicts.end(),
                     [](const Verdict& verdict) { return verdict.reason == Reason::kCorrect; });
}

double solve_rate(const std::vector<Group>& groups) {
  int64_t correct = 0;
  int64_t graded = 0;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      ++graded;
      correct += is_correct(sample);
    }
  }
  return graded == 0 ? 0 : static_cast<double>(correct) / static_cast<double>(graded);
}

double mean_length(const std::vector<Group>& groups) {
  double tokens = 0;
  int64_t samples = 0;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) tokens += static_cast<double>(drawn_tokens(sample));
    samples += static_cast<int64_t>(group.samples.size());
  }
  return samples == 0 ? 0 : tokens / static_cast<double>(samples);
}

double token_count(const std::vector<Group>& groups) {
  double tokens = 0;
  for (const Group& group : groups) {
    for (const Sample& sample : group.samples) {
      tokens += static_cast<double>(group.prompt_tokens.size() + sample.tokens.size());
    }
  }
  return tokens;
}

double zero_variance_share(const std::vector<Group>& groups) {
  const auto zero = std::count_if(groups.begin(), groups.end(),
                                  [](const Group& group) { return group.zero_variance; });
  return groups.empty() ? 0 : static_cast<double>(zero) / static_cast<double>(groups.size());
}

StepProgress progress_of(int64_t step, int64_t total_steps, const Json& metrics,
                         const std::vector<Group>& groups) {
  StepProgress progress;
  progress.step = step + 1;  // steps count from 0, the bar counts finished ones
  progress.total_steps = total_steps;
  progress.reward = number_or(metrics, "reward", 0);
  // Like the reward, over all that was sampled, replaced groups included.
  progress.solve_rate = number_or(metrics, "solve_rate", solve_rate(groups));
  progress.length = number_or(metrics, "completions/mean_length", mean_length(groups));
  progress.entropy = number_or(metrics, "entropy", 0);
  progress.zero_std = number_or(metrics, "frac_reward_zero_std", zero_variance_share(groups));
  progress.tokens = token_count(groups);
  progress.tokens_per_s =
      number_or(metrics, "timing/tokens_per_s", number_or(metrics, "tokens_per_s", 0));
  progress.mfu = number_or(metrics, "timing/mfu", number_or(metrics, "mfu", -1));
  progress.staleness = number_or(metrics, "sampling/staleness/mean", -1);
  progress.workers = number_or(metrics, "timing/workers", -1);
  return progress;
}

// {"step", metrics.., "timing": {..}} with the prefix "timing/" taken off.
Json row_of(int64_t step, const Json& metrics) {
  Json row = {{"step", step}};
  Json timing = Json::object();
  for (const auto& [name, value] : metrics.items()) {
    if (name == "step") continue;
    if (!is_timing_metric(name)) {
      row[name] = value;
    } else {
      timing[name.rfind("timing/", 0) == 0 ? name.substr(7) : name] = value;
    }
  }
  if (!timing.empty()) row["timing"] = std::move(timing);
  return row;
}

Scalars scalars_of(const Json& metrics) {
  Scalars scalars;
  for (const auto& [name, value] : metrics.items()) {
    if (value.is_number() && name != "step") scalars.emplace_back(name, value.get<double>());
    if (value.is_boolean()) scalars.emplace_back(name, value.get<bool>() ? 1 : 0);
  }
  return scalars;
}

std::string group_text(int64_t step, const Group& group) {
  std::string out = "--- step " + std::to_string(step) + ", problem " +
                    printable_line(group.problem.id, 60) + ": " +
                    printable_line(group.problem.prompt, 200) + "\n";
  for (const Sample& sample : group.samples) {
    char head[64];
    std::snprintf(head, sizeof head, "%8.3f %5zu %-8s", sample.reward, sample.tokens.size(),
                  is_correct(sample) ? "correct" : to_string(sample.finish));
    out += std::string(head) + printable_line(sample.text, 240) + "\n";
  }
  return out;
}

double unix_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

bool is_timing_metric(const std::string& name) {
  return name.rfind("timing/", 0) == 0 || ends_with(name, "_seconds") ||
         contains(name, "tokens_per_s") || name == "step_time" || name == "mfu";
}

struct RunRecorder::Impl {
  fs::path run_dir;
  RecorderOptions options;
  std::unique_ptr<JsonLinesWriter> metrics;
  TensorBoardWriter tensorboard;
  std::unique_ptr<TraceWriter> traces;
  ProgressLine progress;
  std::string name;  // see set_name
  SampleScanner scanner;

  Impl(const fs::path& dir, RecorderOptions with)
      : run_dir(dir),
        options(std::move(with)),
        tensorboard(dir / "tb"),
        progress(STDERR_FILENO, options.record.progress),
        scanner(options.task) {
    metrics = std::make_unique<JsonLinesWriter>(metrics_path());
    if (options.record.traces) {
      traces = std::make_unique<TraceWriter>(dir / "traces", options.run_info, options.vocabulary);
    }
  }

  fs::path metrics_path() const { return run_dir / "metrics.jsonl"; }

  // Steps 0 and 1 are the base policy's samples, without which no later count can be read. Samples
  // that were asked for by themselves are few and always kept.
  bool traced(int64_t step, int64_t group, GroupSource source) const {
    const RecordConfig& record = options.record;
    if (source == GroupSource::kProbe || source == GroupSource::kEval) return traces != nullptr;
    return traces && (step <= 1 || step % record.trace_every == 0) &&
           (record.trace_groups == 0 || group < record.trace_groups);
  }

  // Scans on all threads, sums in order, so that the sums do not depend on the threads.
  Json scan(const std::vector<Group>& groups) const {
    if (!options.record.scan || groups.empty()) return Json::object();
    std::vector<std::vector<SampleScan>> scans(groups.size());
    parallel_for(static_cast<int64_t>(groups.size()), 1, [&](int64_t begin, int64_t end) {
      for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
        scans[i] = scanner.scan(groups[i]);
      }
    });
    StepStats stats;
    for (size_t i = 0; i < groups.size(); ++i) stats.add(groups[i], scans[i]);
    return scan_metrics(stats, scanner.lists(), scanner.scanners());
  }

  void append(int64_t step, GroupSource source, const std::vector<Group>& groups,
              int64_t first = 0) {
    for (size_t i = 0; i < groups.size(); ++i) {
      const int64_t index = first + static_cast<int64_t>(i);
      if (traced(step, index, source)) traces->append(step, index, source, groups[i]);
    }
  }
};

RunRecorder::RunRecorder(const fs::path& run_dir, RecorderOptions options) {
  make_folder(run_dir);
  impl_ = std::make_unique<Impl>(run_dir, std::move(options));
}

RunRecorder::RunRecorder() = default;
RunRecorder::~RunRecorder() = default;

void RunRecorder::truncate_to(int64_t step, const fs::path& aside) {
  if (!impl_) return;
  impl_->metrics.reset();
  truncate_rows(impl_->metrics_path(), step, aside);
  impl_->metrics = std::make_unique<JsonLinesWriter>(impl_->metrics_path());
  impl_->tensorboard.truncate_to(step, aside);
  if (impl_->traces) impl_->traces->truncate_to(step, aside);
}

void RunRecorder::record(int64_t step, const Json& metrics, const std::vector<Group>& groups) {
  if (!impl_) return;
  impl_->append(step, GroupSource::kTrain, groups);
  Json all = metrics;
  all.update(impl_->scan(groups));
  impl_->metrics->write(row_of(step, all));
  impl_->tensorboard.write(step, unix_time(), scalars_of(all));
  StepProgress progress = progress_of(step, impl_->options.total_steps, metrics, groups);
  progress.run = impl_->name;
  impl_->progress.show(progress);
  const int every = impl_->options.record.print_every;
  if (every > 0 && step % every == 0 && !groups.empty()) note(group_text(step, groups.front()));
}

void RunRecorder::record_groups(int64_t step, GroupSource source, const std::vector<Group>& groups,
                                int64_t first) {
  if (!impl_) return;
  impl_->append(step, source, groups, first);
}

void RunRecorder::annotate(int64_t step, int64_t group, const std::string& name,
                           const std::vector<std::vector<float>>& values) {
  if (!impl_) return;
  if (impl_->traced(step, group, GroupSource::kTrain)) {
    impl_->traces->annotate(step, group, GroupSource::kTrain, name, values);
  }
}

void RunRecorder::set_name(std::string name) {
  if (impl_) impl_->name = std::move(name);
}

void RunRecorder::note(const std::string& text) {
  if (!impl_) return;
  impl_->progress.end_line();
  if (!impl_->name.empty()) std::cerr << printable(impl_->name) << ": ";
  std::cerr << printable(text);  // an alarm may quote what a plug-in wrote
  if (text.empty() || text.back() != '\n') std::cerr << '\n';
  std::cerr.flush();
}

void RunRecorder::sync() {
  if (!impl_) return;
  impl_->metrics->sync();
  if (impl_->traces) impl_->traces->sync();
}

}  // namespace zeroth
