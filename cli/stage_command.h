// `zeroth pretrain` and its kin: CONFIG.json --out RUN, or --resume RUN.
#pragma once

#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/error.h"
#include "stages/stage_run.h"

namespace zeroth {

struct StageOptions {
  std::vector<std::string> set;
  std::string out;
  std::string resume;
  bool dry_run = false;
  template <class V>
  void fields(V& v) {
    v("set", set, "override a field of the config, a.b=value; may be repeated", Repeated{});
    v("out", out, "folder of the run");
    v("resume", resume, "go on with the run in this folder");
    v("dry_run", dry_run, "print the resolved config and end");
  }
};

// The folder of the run of `command`; goes to where it was started if its files are there alone.
std::string run_to_resume(const std::string& folder, const std::string& command);

// `read`: of a file and overrides, see read_pretrain_config(). `run`: see pretrain().
template <class Config, class Read, class Run>
int run_stage_command(const std::string& name, const Args& args, Read read, Run run) {
  StageOptions options;
  const std::string command = "zeroth " + name;
  if (asks_for_help(args)) {
    Config config;
    std::printf(
        "usage: %s CONFIG.json [--set a.b=v].. --out RUN\n"
        "       %s --resume RUN [--set a.b=v]..\n\n%s\nFields of the config:\n%s",
        command.c_str(), command.c_str(), config_help(options).c_str(),
        config_help(config).c_str());
    return 0;
  }
  const auto files = parse_flags(options, args, name);
  const bool resume = !options.resume.empty();
  if (files.size() > 1 || (files.empty() && !resume)) {
    fail_usage(command + " takes one config, got " + std::to_string(files.size()),
               command + " CONFIG.json --out RUN");
  }
  if (resume && !options.out.empty() && options.out != options.resume) {
    fail_usage(
        "--out " + options.out + " and --resume " + options.resume + " name different folders",
        "give one of them");
  }
  const std::string folder = resume ? run_to_resume(options.resume, name) : options.out;
  const std::string file = files.empty() ? folder + "/config.json" : find_shipped(files[0]);
  Config config = read(file, options.set);
  config.model = find_shipped(config.model);
  if (options.dry_run) {
    std::printf("%s\n", dump_config(config).dump(2).c_str());
    return 0;
  }
  if (folder.empty()) fail_usage(command + " needs a folder for the run", "add --out RUN");
  const StageSummary summary = run(config, folder, resume, &save_on_interrupt(), note_progress);
  const Json result = {{"run", folder},
                       {"steps", summary.steps},
                       {"loss", summary.loss},
                       {"num_tokens", summary.num_tokens},
                       {"seconds", summary.seconds},
                       {"interrupted", summary.interrupted}};
  std::printf("%s\n", result.dump().c_str());
  if (!summary.interrupted) return 0;
  end_interrupted("saved step " + std::to_string(summary.steps) + "; go on with: " + command +
                  " --resume " + folder);
}

}  // namespace zeroth
