// `zeroth pipeline`: stages one after another, each a command of its own.
#include "stages/pipeline.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <thread>
#include <utility>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/files.h"
#include "core/system.h"
#include "rl/run_folder.h"
#include "stages/pipeline_summary.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

struct PipelineOptions {
  std::string out;
  std::string resume;
  std::vector<std::string> set;
  std::string only;
  bool dry_run = false;
  template <class V>
  void fields(V& v) {
    v("out", out, "folder of all stages");
    v("resume", resume, "go on with the pipeline in this folder: finished stages are left alone");
    v("set", set, "another value in place of one of the file's values, NAME=VALUE; may be repeated",
      Repeated{});
    v("only", only,
      "run this stage alone, whether it is finished or not; what it needs must be there");
    v("dry_run", dry_run, "print the commands of all stages and end");
  }
};

std::string quoted(const std::string& word) {
  const bool plain =
      !word.empty() && word.find_first_of(" \t\n\"'\\$`{}[]*?!#&;|<>()~") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_line(const std::vector<std::string>& words) {
  std::string line = "zeroth";
  for (const std::string& word : words) line += " " + quoted(word);
  return line;
}

// Runs this program with these words until it ends; its standard output goes to the file, or to
// standard error when none is named. A signal that comes meanwhile is passed on once. Returns its
// exit code.
int run_command(const std::vector<std::string>& words, const fs::path& output) {
  const std::atomic<bool>& stop = stop_on_interrupt("ending the stage");
  std::vector<std::string> all = {"zeroth"};
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> argv;
  argv.reserve(all.size() + 1);
  for (std::string& word : all) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t parent = ::getpid();
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid < 0) fail("cannot start a stage: the system has no more processes", "end some others");
  if (pid == 0) {
    // The terminal's Ctrl-C reaches the parent alone, which passes it on; without the parent the
    // stage saves and ends.
    ::setpgid(0, 0);
    system::end_with_parent(SIGTERM);
    if (::getppid() != parent) ::_exit(127);
    const int null = ::open("/dev/null", O_RDONLY);
    if (null >= 0) ::dup2(null, STDIN_FILENO);
    if (!output.empty()) {
      const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
      if (file < 0 || ::dup2(file, STDOUT_FILENO) < 0) ::_exit(127);
    } else if (::dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {  // standard output is the pipeline's
      ::_exit(127);
    }
    system::run_program_anew(argv.data());
    ::_exit(127);
  }
  bool told = false;
  int status = 0;
  while (::waitpid(pid, &status, WNOHANG) == 0) {
    if (stop && !std::exchange(told, true)) ::kill(pid, interrupt_exit_code() - 128);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

constexpr const char* kFile = "pipeline.json";  // in the folder
constexpr const char* kState = "finished.json";

Json read_state(const fs::path& folder) {
  Json state = fs::exists(folder / kState) ? read_json_file(folder / kState) : Json::object();
  if (!state.is_object()) state = Json::object();
  if (!state["finished"].is_array()) state["finished"] = Json::array();
  return state;
}

// The folder of a pipeline to go on with, as it was named when it was started, and from where: its
// files may name others relatively, and what stages record is then what they would have recorded.
fs::path enter_started(const fs::path& folder) {
  const Json state = read_state(folder);
  const auto text = [&](const char* name) {
    return state.contains(name) && state[name].is_string() ? state[name].get<std::string>()
                                                           : std::string();
  };
  const fs::path directory = text("directory"), out = text("out");
  std::error_code error;
  if (directory.empty() || out.empty() || !fs::equivalent(directory / out, folder, error) || error)
    return folder;
  if (fs::equivalent(directory, ".", error)) return out;
  fs::current_path(directory, error);
  if (error) return folder;
  std::fprintf(stderr, "working in %s, where the pipeline was started\n", directory.c_str());
  return out;
}

void check_folder(const fs::path& folder, bool resume) {
  if (fs::exists(folder / kFile) == resume) return;
  fail_usage(folder.string() + (resume ? " holds no pipeline" : " already holds a pipeline"),
             resume ? "start one: zeroth pipeline FILE --out " + folder.string()
                    : "go on with it: zeroth pipeline --resume " + folder.string());
}

// The stages of a folder: what is finished, and running the next ones.
class Runner {
 public:
  Runner(Pipeline pipeline, fs::path folder, bool resume)
      : pipeline_(std::move(pipeline)),
        folder_(std::move(folder)),
        lock_(make_run_folder(folder_)) {
    check_folder(folder_, resume);  // again: it is ours only now
    if (resume) {
      state_ = read_state(folder_);
      return;
    }
    refuse_old_stages();
    check_configs();
    state_ = {{"finished", Json::array()},
              {"directory", fs::current_path().string()},
              {"out", folder_.string()}};
    write_state();
    write_file_atomic(folder_ / kFile, pipeline_.file.dump(2) + "\n");
  }

  // Returns the exit code of the first stage that did not end well, or 0.
  int run(const std::string& only) {
    const auto& stages = pipeline_.stages;
    const bool known = only.empty() || std::any_of(stages.begin(), stages.end(),
                                                   [&](const auto& s) { return s.name == only; });
    if (!known) fail_usage("the pipeline has no stage " + only, "zeroth pipeline FILE --dry-run");
    for (const PipelineStage& stage : stages) {
      if (only.empty() ? finished(stage) : stage.name != only) continue;
      const int code = run(stage);
      if (code == 0) continue;
      std::fprintf(stderr,
                   "zeroth pipeline: stage %s ended with exit code %d; go on with: zeroth "
                   "pipeline --resume %s\n",
                   stage.name.c_str(), code, quoted(folder_.string()).c_str());
      return code;
    }
    report();
    return 0;
  }

 private:
  // A stage clears the folder that it begins in, which must not be somebody else's.
  void refuse_old_stages() const {
    for (const PipelineStage& stage : pipeline_.stages) {
      if (!fs::exists(stage.folder)) continue;
      fail(stage.folder.string() + " is already there, where the stage " + stage.name +
               " of a new pipeline would write",
           "choose another folder with --out, or move it away");
    }
  }

  void write_config(const PipelineStage& stage) const {
    if (!stage.config_file.empty())
      write_file_atomic(stage.config_file, stage.config.dump(2) + "\n");
  }

  // What is wrong with the last stage's config is said before the first one has run for hours.
  void check_configs() const {
    for (const PipelineStage& stage : pipeline_.stages) {
      const bool made_later =
          stage.config_file.empty() && stage.words.at(1).starts_with(folder_.string() + "/");
      if (!stage.resumes() || made_later) continue;
      write_config(stage);
      std::vector<std::string> words = stage.words;
      words.emplace_back("--dry-run");
      if (run_command(words, "/dev/null") == 0) continue;
      fail("the config of stage " + stage.name + " is refused, as said above",
           "mend the file of the pipeline and start it again; no stage has begun");
    }
  }

  void write_state() const { write_file_atomic(folder_ / kState, state_.dump(2) + "\n"); }

  bool finished(const PipelineStage& stage) const {
    const Json& names = state_["finished"];
    return std::any_of(names.begin(), names.end(),
                       [&](const Json& name) { return name == Json(stage.name); });
  }
  static fs::path result_of(const PipelineStage& stage) {
    return stage.command == "eval" ? stage.folder / "result.json" : fs::path();
  }

  int run(const PipelineStage& stage) {
    write_config(stage);
    const bool again = stage.resumes() && holds_run(stage.folder);
    if (!again) fs::remove_all(stage.folder);  // half of it, of a stage that begins anew
    if (!stage.resumes()) make_run_folder(stage.folder);
    const std::vector<std::string> words = again ? stage.go_on() : stage.begin();
    std::fprintf(stderr, "\n== %s: %s\n", stage.name.c_str(), command_line(words).c_str());
    const int code = run_command(words, result_of(stage));
    if (code != 0 || finished(stage)) return code;
    state_["finished"].push_back(stage.name);
    write_state();
    if (stage.command == "eval") std::fprintf(stderr, "\n%s", summarise().c_str());
    return 0;
  }

  std::vector<const PipelineStage*> measurements() const {
    std::vector<const PipelineStage*> done;
    for (const PipelineStage& stage : pipeline_.stages) {
      if (stage.command == "eval" && finished(stage)) done.push_back(&stage);
    }
    return done;
  }

  // Keeps the table so far in the folder and returns it; empty without a measurement.
  std::string summarise() const {
    std::vector<StageResult> results;
    for (const PipelineStage* stage : measurements())
      results.push_back({stage->measured, read_json_file(result_of(*stage))});
    if (results.empty()) return "";
    const std::string table = summary_table(results);
    write_file_atomic(folder_ / "summary.md", table);
    write_file_atomic(folder_ / "summary.json", summary_json(results).dump(2) + "\n");
    return table;
  }

  // A line for every measurement.
  void report() const {
    summarise();  // a kill may have come between the last measurement and its row
    for (const PipelineStage* stage : measurements()) {
      Json row = {{"stage", stage->name}};
      row.update(read_json_file(result_of(*stage)));
      std::printf("%s\n", row.dump().c_str());
    }
  }

  const Pipeline pipeline_;
  const fs::path folder_;
  const FolderLock lock_;
  Json state_;
};

}  // namespace

int run_pipeline(const Args& args) {
  constexpr const char* kUsage =
      "zeroth pipeline FILE.json --out DIR [--set NAME=VALUE]..\n"
      "       zeroth pipeline --resume DIR";
  PipelineOptions options;
  if (asks_for_help(args)) return print_usage(kUsage, options);
  const Args files = parse_flags(options, args, "pipeline");
  const bool resume = !options.resume.empty();
  if (files.size() != (resume ? 0 : 1) ||
      (resume && !(options.out.empty() && options.set.empty())) ||
      (!resume && options.out.empty())) {
    fail_usage(resume ? "zeroth pipeline: --resume takes no file, no --out and no --set"
                      : "zeroth pipeline takes one file and --out",
               std::string("usage: ") + kUsage);
  }
  fs::path folder = resume ? options.resume : options.out;
  check_folder(folder, resume);
  if (resume) folder = enter_started(folder);
  Pipeline pipeline = read_pipeline(resume ? folder / kFile : fs::path(find_shipped(files[0])),
                                    options.set, folder);
  if (options.dry_run) {
    for (const PipelineStage& stage : pipeline.stages)
      std::printf("%s: %s\n", stage.name.c_str(), command_line(stage.begin()).c_str());
    return 0;
  }
  const int code = Runner(std::move(pipeline), folder, resume).run(options.only);
  if (interrupt_exit_code() != 0) end_interrupted("");
  return code;
}

}  // namespace zeroth
