// `zeroth train`: reinforcement learning from a config, new or resumed.
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <optional>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/metrics_server.h"
#include "cli/rank_facts.h"
#include "cli/shipped.h"
#include "cli/start_plugins.h"
#include "cli/task_notes.h"
#include "cli/usage.h"
#include "core/error.h"
#include "ranks/team.h"
#include "rl/adapter_runs.h"
#include "rl/run_origin.h"

namespace zeroth {
namespace {

struct TrainOptions {
  std::vector<std::string> set;
  std::string out;
  std::string resume;
  std::string replay;
  std::vector<std::string> change;
  bool accept_changed_data = false;
  bool dry_run = false;
  bool start_plugins = false;
  std::string metrics_listen;
  template <class V>
  void fields(V& v) {
    v("set", set, "override a field of the config, a.b=value; may be repeated", Repeated{});
    v("out", out, "folder of the run; default runs/CONFIG-TIME");
    v("resume", resume,
      "go on with the run in this folder; --set takes what keeps its bits (length, memory, "
      "batching "
      "of generation, evaluation, alarms, record)");
    v("replay", replay,
      "make the steps of the run in this folder again from its journal (async.max_staleness) into "
      "--out, in this process: the same bytes of weights, metrics (timings aside) and traces");
    v("change", change,
      "with --resume: change a field of the run from here on, a.b=value; recorded in the run's "
      "history; may be repeated",
      Repeated{});
    v("accept_changed_data", accept_changed_data,
      "with --resume: go on although files of the task, its plug-in or the tokenizer changed; "
      "recorded in the run's history");
    v("dry_run", dry_run, "print the resolved config and end");
    v("start_plugins", start_plugins,
      "with --resume: start the command, library or server that the run names as its grader");
    v("metrics_listen", metrics_listen,
      "HOST:PORT or PORT where Prometheus reads the newest row of metrics, at /metrics; port 0 = "
      "any free one; empty: nowhere");
  }
};

std::string default_folder(const std::string& config_file) {
  char stamp[32];
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  std::strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &parts);
  return "runs/" + std::filesystem::path(config_file).stem().string() + "-" + stamp;
}

void print_help() {
  RunConfig config;
  TrainOptions options;
  std::printf(
      "usage: zeroth train CONFIG.json [--set a.b=v].. [--out RUN]\n"
      "       zeroth train --resume RUN [--set a.b=v].. [--change a.b=v]..\n"
      "       zeroth train --replay RUN --out RUN2\n\n%s\nFields of the "
      "config:\n%s",
      config_help(options).c_str(), config_help(config).c_str());
}

// Makes another run again from its journal.
std::unique_ptr<TrainingRun> open_replay(TrainOptions& options,
                                         const std::vector<std::string>& files) {
  if (!files.empty() || !options.resume.empty() || !options.set.empty() ||
      !options.change.empty() || options.accept_changed_data) {
    fail_usage(
        "--replay takes no config, no --resume and no changes: it makes the same bytes again",
        "zeroth train --replay RUN --out RUN2");
  }
  if (options.out.empty()) {
    fail_usage("--replay needs a folder to write to", "zeroth train --replay RUN --out RUN2");
  }
  // Relative files of its config are those of where it was started.
  const std::string out = std::filesystem::absolute(options.out).string();
  const std::string other = std::filesystem::absolute(options.replay).string();
  if (enter_run_directory(options.replay)) options.out = out;
  const RunConfig config = recorded_config(other, {});
  ask_for_plugins(other, config.task.name, config.task.options, options.start_plugins);
  save_on_interrupt();
  return TrainingRun::replay(other, options.out);
}

RunConfig wanted_config(const TrainOptions& options, const std::vector<std::string>& files) {
  if (files.size() > 1) {
    fail_usage("zeroth train takes one config, got " + std::to_string(files.size()),
               "zeroth train CONFIG.json [--set a.b=v].. [--out RUN]");
  }
  if (!options.resume.empty() && !options.out.empty() && options.out != options.resume) {
    fail_usage(
        "--out " + options.out + " and --resume " + options.resume + " name different folders",
        "give one of them");
  }
  if (options.resume.empty() && (!options.change.empty() || options.accept_changed_data)) {
    fail_usage("--change and --accept-changed-data are for runs that go on",
               "give --resume RUN, or --set for a new run");
  }
  std::vector<std::string> overrides = options.set;
  overrides.insert(overrides.end(), options.change.begin(), options.change.end());
  if (!files.empty()) {
    RunConfig config = read_run_config(find_shipped(files[0]), overrides);
    config.model = find_shipped(config.model);
    return config;
  }
  if (!options.resume.empty() && holds_adapter_runs(options.resume))
    return recorded_adapters(options.resume, overrides);
  if (options.resume.empty()) {
    fail_usage("zeroth train needs a config",
               "zeroth train CONFIG.json, for example configs/smoke.json");
  }
  return recorded_config(options.resume, overrides);
}

// The fields that --change names.
ResumeOptions resume_options(const TrainOptions& options) {
  ResumeOptions resume;
  resume.accept_changed_data = options.accept_changed_data;
  for (const std::string& assignment : options.change) {
    const std::string name = assignment.substr(0, assignment.find('='));
    if (name == "model" || name == "seed" || name == "task.name") {
      fail_usage("--change " + name + ": that would be another run",
                 "start one from the last checkpoint: --set model=" + options.resume +
                     "/checkpoints/latest --out NEW");
    }
    resume.changed.push_back(name);
  }
  return resume;
}

// Of runs of adapters the first one, which was started where all were.
std::filesystem::path one_of(const std::filesystem::path& folder) {
  if (!holds_adapter_runs(folder)) return folder;
  return folder / recorded_adapters(folder, {}).adapters.at(0).value("name", "");
}

std::string text_of(RunConfig config) { return dump_config(config).dump(); }

// The run to train: a new one, or one to go on with.
std::unique_ptr<TrainingRun> open_run(const TrainOptions& options, const RunConfig& config,
                                      Team* team) {
  if (options.resume.empty()) return TrainingRun::create(options.out, config, team);
  return TrainingRun::resume(options.out, config, resume_options(options), team);
}

// One process, or one rank of several.
int train_run(TrainingRun& run, const std::atomic<bool>& stop, const std::string& metrics_listen) {
  const std::string folder = run.folder.string();
  Team* const team = run.team;
  std::optional<MetricsServer> metrics;
  if (run.leads() && !metrics_listen.empty()) {
    metrics.emplace(run.folder, metrics_listen);
    std::fprintf(stderr, "metrics at %s\n", metrics->url().c_str());
  }
  if (run.leads()) {
    std::fprintf(stderr, "run %s: step %lld of %lld\n", folder.c_str(),
                 static_cast<long long>(run.first_step), static_cast<long long>(run.end_step));
    if (team != nullptr) {
      std::fprintf(stderr, "%d ranks, started by %s\n", team->size(),
                   team->launch().launcher.c_str());
    }
    print_task_notes(*run.parts->task);
    std::fputs(run.prompt_report().c_str(), stderr);
  }
  const TrainSummary summary = train(run, &stop, note_progress);
  if (run.leads()) {
    const Json result = {{"run", folder},
                         {"steps", summary.steps},
                         {"seconds", summary.seconds},
                         {"max_logp_difference", summary.max_logp_difference},
                         {"interrupted", summary.interrupted}};
    std::printf("%s\n", result.dump().c_str());
  }
  if (!summary.interrupted) return 0;
  if (run.leads())
    write_run_state(folder, "stopped", interrupt_name(), summary.steps, run.config.steps);
  if (team != nullptr) team->leave();
  if (interrupt_exit_code() == 0) return 143;  // the signal was another rank's
  end_interrupted(run.leads() ? "saved step " + std::to_string(summary.steps) +
                                    "; go on with: zeroth train --resume " + folder
                              : std::string());
}

// Runs of several adapters, which take turns.
int train_adapters(const TrainOptions& options, const RunConfig& config, const Launch& launch,
                   const std::atomic<bool>& stop) {
  if (launch.size > 1)
    fail_usage("adapters, and " + std::to_string(launch.size) +
                   " ranks: they take turns in one "
                   "process",
               "start one process, or a job an adapter");
  if (!options.metrics_listen.empty())
    fail_usage("--metrics-listen follows one run, and there are several",
               "leave it out; each run's metrics.jsonl is in its folder");
  const auto all = options.resume.empty()
                       ? AdapterRuns::create(options.out, config)
                       : AdapterRuns::resume(options.out, config, resume_options(options));
  std::string names;
  for (const std::string& name : all->names()) names += (names.empty() ? "" : ", ") + name;
  std::fprintf(stderr, "runs %s/: %s, over one base\n", options.out.c_str(), names.c_str());
  print_task_notes(*all->runs().front()->parts->task);
  std::fputs(all->runs().front()->prompt_report().c_str(), stderr);
  bool interrupted = false;
  int64_t least = config.steps;
  const std::vector<TrainSummary> summaries = all->train(&stop, note_progress);
  for (size_t i = 0; i < summaries.size(); ++i) {
    const TrainSummary& summary = summaries[i];
    const Json result = {{"run", all->runs()[i]->folder.string()},
                         {"steps", summary.steps},
                         {"seconds", summary.seconds},
                         {"max_logp_difference", summary.max_logp_difference},
                         {"interrupted", summary.interrupted}};
    std::printf("%s\n", result.dump().c_str());
    interrupted |= summary.interrupted;
    least = std::min(least, summary.steps);
  }
  if (!interrupted) return 0;
  for (size_t i = 0; i < summaries.size(); ++i)
    write_run_state(all->runs()[i]->folder, "stopped", interrupt_name(), summaries[i].steps,
                    config.steps);
  end_interrupted("saved step " + std::to_string(least) + "; go on with: zeroth train --resume " +
                  options.out);
}

// The whole of one rank: the others hear of it when it fails.
int train_rank(TrainOptions& options, const RunConfig& config, const Launch& launch,
               const std::atomic<bool>& stop) {
  check_ranks(config, launch.size);  // before anybody waits for anybody
  share_cores(launch);
  const auto team =
      Team::join(launch, rank_facts("the config's hash", text_of(config)), config.ranks);
  try {
    options.out = team->from_first("the run's folder", options.out);  // its name may hold the time
    return train_run(*open_run(options, config, team.get()), stop, options.metrics_listen);
  } catch (const std::exception& error) {
    team->fail(error.what());
    throw;
  }
}

}  // namespace

int run_train(const Args& args) {
  if (asks_for_help(args)) {
    print_help();
    return 0;
  }
  TrainOptions options;
  const auto files = parse_flags(options, args, "train");
  if (!options.replay.empty()) {
    const auto run = open_replay(options, files);
    return train_run(*run, save_on_interrupt(), options.metrics_listen);
  }
  if (!options.resume.empty() && files.empty()) {
    const std::string absolute = std::filesystem::absolute(options.resume).string();
    refuse_other_command(options.resume, "train");
    if (enter_run_directory(one_of(options.resume))) options.resume = absolute;
  }
  RunConfig config = wanted_config(options, files);
  adapter_runs(config);  // what is wrong with one of them is said before anything begins
  if (options.dry_run) {
    std::printf("%s\n", dump_config(config).dump(2).c_str());
    return 0;
  }
  // A config on the command line was chosen by who calls; what a run folder says was perhaps not.
  if (!options.resume.empty() && files.empty())
    ask_for_plugins(options.resume, config.task.name, config.task.options, options.start_plugins);
  if (!options.resume.empty()) options.out = options.resume;
  if (options.out.empty()) options.out = default_folder(files[0]);
  const std::atomic<bool>& stop = save_on_interrupt();  // not before the question about plug-ins
  const Launch launch = find_launch();
  if (!config.adapters.empty()) return train_adapters(options, config, launch, stop);
  if (launch.size > 1) return train_rank(options, config, launch, stop);
  return train_run(*open_run(options, config, nullptr), stop, options.metrics_listen);
}

}  // namespace zeroth
