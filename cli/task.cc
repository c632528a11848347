// `zeroth task`: list, sample, check, new and serve.
#include <algorithm>
#include <cstdio>
#include <memory>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/preset.h"
#include "cli/task_notes.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "core/terminal.h"
#include "tasks/plugins/so_host.h"
#include "tasks/scaffold.h"
#include "tasks/task.h"
#include "tasks/task_check.h"

namespace zeroth {
namespace {

void print_parts() {
  std::printf(
      "usage: zeroth task list [NAME]             tasks, or the options of one\n"
      "       zeroth task sample TASK [-n N]      problems with their prompts and answers\n"
      "       zeroth task check TASK [-n N]       is it fit for training? deterministic, gold "
      "right, junk wrong, fast\n"
      "       zeroth task new NAME [--lang cpp|python|so] [--dir DIR]\n"
      "                                           a task to start from: C++ in the source tree, or "
      "a plug-in\n"
      "       zeroth task serve FILE.so           JSON lines in and out for a shared library; "
      "tries "
      "it by hand\n"
      "TASK is NAME or NAME:key=value,.. (for example 'process:command=python3 mine.py'), or a "
      "public benchmark\nas published: --preset NAME --data FILE (zeroth eval --help names "
      "them)\n\n");
}

int list(const Args& args) {
  if (args.size() > 1)
    fail_usage("zeroth task list: unexpected \"" + args[1] + "\"", "give one task name or none");
  std::vector<std::string> names;
  for (const TaskInfo& task : list_tasks()) {
    names.push_back(task.name);
    if (args.empty()) std::printf("%-12s %s\n", task.name.c_str(), task.summary.c_str());
    if (!args.empty() && args[0] == task.name) {
      std::printf("%s: %s\n\n%s", task.name.c_str(), task.summary.c_str(),
                  task.options_help.c_str());
      return 0;
    }
  }
  if (args.empty()) return 0;
  const std::string near = nearest(args[0], names);
  fail_usage("no task is named \"" + args[0] + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
             "`zeroth task list` shows the tasks");
}

struct SampleOptions {
  int n = 3;
  int64_t first = 0;
  std::string split = "train";
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("n", n, "problems", Range{1, 1e6});
    v("first", first, "index of the first one", Range{0, 1e12});
    v("split", split, "problems to use", Choice{{"train", "held_out"}});
    v("json", json, "print one JSON object a problem");
  }
};

// "-n 3" is customary here; the option list knows "--n".
Args with_long_n(const Args& args) {
  Args out = args;
  std::replace(out.begin(), out.end(), std::string("-n"), std::string("--n"));
  return out;
}

// --preset NAME --data FILE as the TASK that they mean.
Args with_preset(const Args& args, const std::string& part) {
  const PresetFlags preset = PresetFlags::in(args);
  if (!preset.given()) return args;
  TaskSamples what;
  apply_preset(preset, what);
  Args out;
  for (size_t i = 0; i < args.size(); ++i) {
    const auto is = [&](const char* flag) {
      return args[i] == flag || args[i].starts_with(std::string(flag) + "=");
    };
    if (!is("--preset") && !is("--data") && !is("--template")) {
      out.push_back(args[i]);
    } else if (args[i].find('=') == std::string::npos) {
      ++i;  // its value
    }
  }
  if (part == "check") out.emplace_back("--evaluation");
  out.push_back(what.task);
  return out;
}

std::unique_ptr<Task> only_task(const Args& rest, const std::string& command) {
  if (rest.size() != 1) {
    fail_usage("zeroth task " + command + ": " + (rest.empty() ? "no task" : "more than one task"),
               "give one TASK, for example countdown:count=4");
  }
  return make_task(rest[0]);
}

int sample(const Args& args) {
  SampleOptions options;
  if (asks_for_help(args)) return print_usage("zeroth task sample TASK[:key=value,..]", options);
  const auto task = only_task(parse_flags(options, with_long_n(args), "task sample"), "sample");
  print_task_notes(*task);
  const Split split = options.split == "train" ? Split::kTrain : Split::kHeldOut;
  const int64_t size = task->size(split);
  for (int64_t i = options.first; i < std::min(size, options.first + options.n); ++i) {
    const Problem problem = task->problem(split, i);
    if (options.json) {
      const Json row = {{"id", problem.id},
                        {"prompt", problem.prompt},
                        {"answer", problem.answer},
                        {"meta", problem.meta},
                        {"cluster", task->cluster(problem)}};
      print_json(row);
    } else {
      std::printf("# %s  answer: %s\n%s\n", printable_line(problem.id, 0).c_str(),
                  shown_text(problem.answer).c_str(), shown_text(problem.prompt).c_str());
      const std::string gold = task->gold_completion(problem);
      if (!gold.empty()) std::printf("%s\n", shown_text(gold).c_str());
      std::printf("\n");
    }
  }
  if (options.first >= size) {
    fail("the split has " + std::to_string(size) + " problems; none at index " +
             std::to_string(options.first),
         size == 0 ? "look at the task's data and at what was said of it, or take another --split"
                   : "give a smaller --first");
  }
  return 0;
}

struct CheckOptions {
  int n = 200;
  bool evaluation = false;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("n", n, "problems of each split", Range{1, 1e6});
    v("evaluation", evaluation, "for evaluation only: it needs no training problem");
    v("json", json, "print one JSON object");
  }
};

int check(const Args& args) {
  CheckOptions options;
  if (asks_for_help(args)) return print_usage("zeroth task check TASK[:key=value,..]", options);
  const auto task = only_task(parse_flags(options, with_long_n(args), "task check"), "check");
  const TaskCheck result = check_task(*task, options.n, options.evaluation);
  if (options.json) {
    print_json(result.to_json());
  } else {
    std::fputs(printable(result.to_text()).c_str(), stdout);
  }
  return result.passed() ? 0 : static_cast<int>(ExitCode::kFailed);
}

struct NewOptions {
  std::string lang = "cpp";
  std::string dir = ".";
  template <class V>
  void fields(V& v) {
    v("lang", lang, "cpp (a class), python (process carrier) or so (shared library in C)",
      Choice{{"cpp", "python", "so"}});
    v("dir", dir, "folder that the files go to; for cpp the root of the source tree");
  }
};

int make_new(const Args& args) {
  NewOptions options;
  if (asks_for_help(args)) return print_usage("zeroth task new NAME", options);
  const Args rest = parse_flags(options, args, "task new");
  if (rest.size() != 1)
    fail_usage("zeroth task new: give one name", "for example zeroth task new palindromes");
  for (const std::string& path : write_task_scaffold(options.dir, rest[0], options.lang))
    std::printf("%s\n", path.c_str());
  std::fprintf(stderr, "%s\n", scaffold_next_steps(options.dir, rest[0], options.lang).c_str());
  return 0;
}

int serve(const Args& args) {
  if (args.size() != 1)
    fail_usage("zeroth task serve: give one shared library", "zeroth task serve ./libtask.so");
  return serve_library(args[0]);
}

}  // namespace

int run_task(const Args& args) {
  if (args.empty() || args[0] == "--help" || args[0] == "-h") {
    print_parts();
    return args.empty() ? static_cast<int>(ExitCode::kUsage) : 0;
  }
  Args rest(args.begin() + 1, args.end());
  if (args[0] == "sample" || args[0] == "check") rest = with_preset(rest, args[0]);
  if ((args[0] == "list" || args[0] == "serve") && asks_for_help(rest)) {
    print_parts();
    return 0;
  }
  if (args[0] == "list") return list(rest);
  if (args[0] == "sample") return sample(rest);
  if (args[0] == "check") return check(rest);
  if (args[0] == "new") return make_new(rest);
  if (args[0] == "serve") return serve(rest);
  const std::string near = nearest(args[0], {"list", "sample", "check", "new", "serve"});
  fail_usage("zeroth task: unknown part \"" + args[0] + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
             "use list, sample, check, new or serve");
}

}  // namespace zeroth
