// `zeroth reject`: rejection sampling from a run's traces or by sampling anew.
#include "stages/reject.h"

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/task_samples.h"
#include "cli/usage.h"
#include "core/error.h"
#include "core/files.h"
#include "core/interrupted.h"
#include "record/trace_store.h"

namespace zeroth {
namespace {

struct RejectOptions {
  std::string out;
  RejectConfig reject;
  static constexpr int64_t kEnd = INT64_MAX / 2;
  int64_t from = 0, to = kEnd;
  bool probes = false;
  TaskSamples what;  // sampling anew
  RejectOptions() {
    what.samples = 8;
    what.split = "train";
  }
  template <class V>
  void fields(V& v) {
    v("out", out, "JSON Lines file to write");
    reject.fields(v);
    v("from", from, "of a run: first step", Range{0, 1e15});
    v("to", to, "of a run: last step");
    v("probes", probes, "of a run: take the samples of probes and evaluations too");
    what.fields(v);  // from --model on: sampling anew, in place of a run
  }
};

// The samples of a run's steps.
void collect(const std::string& run, const RejectOptions& options, Rejection& rejection) {
  TraceReader reader(std::filesystem::path(run) / "traces");
  reader.refresh(true);
  for (const TraceDamage& damage : reader.damage()) {
    std::fprintf(stderr, "%s: damaged at byte %llu: %s; the rest is read\n", run.c_str(),
                 static_cast<unsigned long long>(damage.offset), damage.what.c_str());
  }
  for (const TraceEntry& entry : reader.groups()) {
    const auto step = static_cast<int64_t>(entry.step);
    const bool aside = entry.source == GroupSource::kProbe || entry.source == GroupSource::kEval;
    if (step < options.from || step > options.to || (aside && !options.probes)) continue;
    rejection.add(reader.read(entry));
  }
}

// Options that the other source of samples does not have.
void check_source(const RejectOptions& options, bool run) {
  if (run && !options.what.task.empty())
    fail_usage("zeroth reject: --task with a run, whose task is its own", "leave --task out");
  if (!run && (options.from != 0 || options.to != RejectOptions::kEnd || options.probes)) {
    fail_usage("zeroth reject: --from, --to and --probes choose among a run's steps",
               "leave them out with --model");
  }
}

// A file that cannot be written is said before hours of sampling.
void check_writable(const std::filesystem::path& file) {
  const std::filesystem::path trial = file.string() + ".tmp." + std::to_string(::getpid());
  std::error_code error;
  if (std::filesystem::is_directory(file, error)) {
    fail("cannot write " + file.string() + ": it is a folder", "name a file with --out");
  }
  FileWriter(trial).close();
  std::filesystem::remove(trial, error);
}

}  // namespace

int run_reject(const Args& args) {
  constexpr const char* kUsage =
      "zeroth reject RUN --out FILE.jsonl [options]\n"
      "       zeroth reject --model DIR --task NAME[:k=v,..] --out FILE.jsonl [options]";
  RejectOptions options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  const Args runs = parse_flags(options, args, "reject");
  if (runs.size() + !options.what.model.empty() != 1 || options.out.empty()) {
    fail_usage(options.out.empty() ? "zeroth reject: --out is missing"
                                   : "zeroth reject: give one run, or --model and --task",
               std::string("usage: ") + kUsage);
  }
  if (!options.what.model.empty() && options.what.task.empty()) {
    fail_usage("zeroth reject: --model without --task", "name the task that is sampled");
  }
  check_source(options, !runs.empty());
  check_writable(options.out);
  Rejection rejection(options.reject);
  if (runs.empty()) {
    try {
      sample_task(options.what, {}, [&](const Group& group) { rejection.add(group); });
    } catch (const Interrupted& stopped) {
      end_interrupted(std::string("zeroth: ") + stopped.what() + "; no row was written");
    }
  } else {
    collect(runs[0], options, rejection);
  }
  std::string text;
  for (const Json& row : rejection.rows()) text += json_line(row) + "\n";
  const Json summary = rejection.summary();
  if (text.empty()) {
    fail("no row: " + summary.dump(), "take more steps or samples, or loosen the filters");
  }
  write_file_atomic(options.out, text);
  print_json(summary);
  return 0;
}

}  // namespace zeroth
