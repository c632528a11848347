// `zeroth train`: reinforcement learning from a config, new or resumed.
#include <cstdio>
#include <ctime>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/start_plugins.h"
#include "cli/usage.h"
#include "core/error.h"
#include "rl/train_loop.h"

namespace zeroth {
namespace {

struct TrainOptions {
  std::vector<std::string> set;
  std::string out;
  std::string resume;
  bool dry_run = false;
  bool start_plugins = false;
  template <class V>
  void fields(V& v) {
    v("set", set, "override a field of the config, a.b=value; may be repeated", Repeated{});
    v("out", out, "folder of the run; default runs/CONFIG-TIME");
    v("resume", resume, "go on with the run in this folder");
    v("dry_run", dry_run, "print the resolved config and end");
    v("start_plugins", start_plugins,
      "with --resume: start the command, library or server that the run names as its grader");
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
      "       zeroth train --resume RUN [--set a.b=v]..\n\n%s\nFields of the config:\n%s",
      config_help(options).c_str(), config_help(config).c_str());
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
  if (!files.empty()) return read_run_config(files[0], options.set);
  if (options.resume.empty()) {
    fail_usage("zeroth train needs a config",
               "zeroth train CONFIG.json, for example configs/smoke.json");
  }
  return recorded_config(options.resume, options.set);
}

}  // namespace

int run_train(const Args& args) {
  if (asks_for_help(args)) {
    print_help();
    return 0;
  }
  TrainOptions options;
  const auto files = parse_flags(options, args, "train");
  RunConfig config = wanted_config(options, files);
  if (options.dry_run) {
    std::printf("%s\n", dump_config(config).dump(2).c_str());
    return 0;
  }
  const bool resume = !options.resume.empty();
  // A config on the command line was chosen by who calls; what a run folder says was perhaps not.
  if (resume && files.empty())
    ask_for_plugins(options.resume, config.task.name, config.task.options, options.start_plugins);
  const std::string folder = resume                ? options.resume
                             : options.out.empty() ? default_folder(files[0])
                                                   : options.out;
  const std::atomic<bool>& stop = save_on_interrupt();
  auto run = resume ? TrainingRun::resume(folder, config) : TrainingRun::create(folder, config);
  std::fprintf(stderr, "run %s: step %lld of %lld\n", folder.c_str(),
               static_cast<long long>(run->first_step), static_cast<long long>(config.steps));
  const TrainSummary summary = train(*run, &stop, note_progress);
  const Json result = {{"run", folder},
                       {"steps", summary.steps},
                       {"seconds", summary.seconds},
                       {"max_logp_difference", summary.max_logp_difference},
                       {"interrupted", summary.interrupted}};
  std::printf("%s\n", result.dump().c_str());
  if (!summary.interrupted) return 0;
  end_interrupted("saved step " + std::to_string(summary.steps) +
                  "; go on with: zeroth train --resume " + folder);
}

}  // namespace zeroth
