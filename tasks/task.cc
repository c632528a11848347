#include "tasks/task.h"

#include <functional>

#include "core/json_text.h"
#include "core/parallel.h"
#include "tasks/builtin/arithmetic.h"
#include "tasks/builtin/code_task.h"
#include "tasks/builtin/countdown.h"
#include "tasks/builtin/data_task.h"
#include "tasks/builtin/draw.h"
#include "tasks/builtin/knights.h"
#include "tasks/builtin/parity.h"
#include "tasks/builtin/programs.h"
#include "tasks/builtin/zebra.h"
#include "tasks/mixture.h"
#include "tasks/plugins/plugin_task.h"
#include "tasks/task_spec.h"
#include "tasks/tools/tools_task.h"

namespace zeroth {
namespace {

struct Entry {
  std::string name, summary;
  std::function<std::unique_ptr<Task>(const Json& options)> make;
  std::string (*help)();
};

template <class Options>
std::string options_help() {
  Options options;
  return config_help(options);
}

// A task whose constructor takes its options.
template <class TaskType, class Options>
Entry entry(const std::string& name, const std::string& summary) {
  return {name, summary,
          [name](const Json& json) -> std::unique_ptr<Task> {
            Options options;
            load_config(options, json, "task " + name);
            return std::make_unique<TaskType>(std::move(options));
          },
          options_help<Options>};
}

// A data set under a name of its own, which chooses the grader unless the options do.
Entry data_entry(const std::string& name, const std::string& grader, const std::string& summary) {
  return {name, summary,
          [name, grader](const Json& json) -> std::unique_ptr<Task> {
            DataTaskOptions options;
            options.grader = grader;
            load_config(options, json, "task " + name);
            return std::make_unique<DataTask>(name, std::move(options));
          },
          options_help<DataTaskOptions>};
}

Entry code_entry(const std::string& name, const std::string& summary) {
  return {name, summary,
          [name](const Json& json) -> std::unique_ptr<Task> {
            CodeTaskOptions options;
            load_config(options, json, "task " + name);
            return std::make_unique<CodeTask>(name, std::move(options));
          },
          options_help<CodeTaskOptions>};
}

// A task outside the binary; see tasks/plugins/plugin_task.h.
template <class Options>
Entry plugin_entry(const std::string& name, std::unique_ptr<Task> (*make)(Options),
                   const std::string& summary) {
  return {name, summary,
          [name, make](const Json& json) {
            Options options;
            load_config(options, json, "task " + name);
            return make(std::move(options));
          },
          options_help<Options>};
}

// The place where a new task of this project is added.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      entry<CountdownTask, CountdownOptions>(
          "countdown", "join given numbers by + - * / into a target, every number once"),
      entry<ParityTask, ParityOptions>("parity", "parity of a bit string"),
      entry<ArithmeticTask, ArithmeticOptions>(
          "arithmetic", "multi-digit sums, differences and products with checked working"),
      entry<KnightsTask, KnightsOptions>("knights",
                                         "knights who tell the truth and knaves who lie"),
      entry<ZebraTask, ZebraOptions>("zebra", "houses in a row, clues that leave one arrangement"),
      entry<DrawTask, DrawOptions>("draw", "a small picture of coloured cells, by its image codes"),
      data_entry("gsm8k", "number", "word problems in GSM8K's format (a local file), final number"),
      data_entry("math", "math",
                 "problems in MATH's format (a local file), mathematical equivalence"),
      data_entry("jsonl", "auto", "prompts and answers of any JSONL file"),
      entry<ProgramsTask, ProgramsOptions>("programs",
                                           "a function of two numbers from two examples"),
      code_entry("humaneval", "Python functions from HumanEval (a local file), run in a sandbox"),
      code_entry("mbpp", "Python functions from MBPP (a local file), run in a sandbox"),
      code_entry("code", "programs from any file with prompts and tests, run in a sandbox"),
      plugin_entry("process", make_process_task,
                   "a plug-in: a command that answers JSON lines, in any language"),
      plugin_entry("so", make_so_task, "a plug-in: a shared library with a C interface"),
      plugin_entry("http", make_http_task, "a plug-in: an HTTP server"),
      entry<ToolsTask, ToolsOptions>("tools",
                                     "any task, with a calculator or Python to call on the way"),
      {"mixture", "several tasks, each with a weight", make_mixture, mixture_help},
  };
  return table;
}

// The places of commas outside brackets and quotes.
std::vector<std::string> split_assignments(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && (i == 0 || text[i - 1] != '\\')) quoted = !quoted;
    if (!quoted && (c == '[' || c == '{')) ++depth;
    if (!quoted && (c == ']' || c == '}')) --depth;
    if (c == ',' && !quoted && depth <= 0) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

}  // namespace

std::vector<Verdict> BatchTask::grade(const Problem& problem, std::string_view completion,
                                      FinishReason finish) const {
  const GradeRequest request{&problem, completion, finish};
  return grade_batch({&request, 1})[0];
}

std::vector<std::vector<Verdict>> Task::grade_batch(std::span<const GradeRequest> requests) const {
  std::vector<std::vector<Verdict>> results(requests.size());
  parallel_for(static_cast<int64_t>(requests.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const GradeRequest& request = requests[static_cast<size_t>(i)];
      results[static_cast<size_t>(i)] = grade(*request.problem, request.completion, request.finish);
    }
  });
  return results;
}

namespace {

// True while this thread makes a task that only looks at a run. Its data files are then not read:
// grading needs none of them, and a stranger's run may name a pipe or a file of any size.
thread_local bool looking = false;

}  // namespace

std::unique_ptr<Task> make_task(const std::string& name, const Json& options) {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) {
    names.emplace_back(entry.name);
    if (name != entry.name) continue;
    auto task = entry.make(options.is_null() ? Json::object() : options);
    if (!looking) task->size(Split::kTrain);  // reads the data files: a bad row is met now
    return task;
  }
  const std::string near = nearest(name, names);
  fail_usage("no task is named \"" + name + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
             "`zeroth task list` shows the tasks");
}

TaskSpec parse_task_spec(const std::string& spec) {
  const size_t colon = spec.find(':');
  Json options = Json::object();
  if (colon != std::string::npos) {
    for (const std::string& part : split_assignments(spec.substr(colon + 1))) {
      const size_t equals = part.find('=');
      if (equals == std::string::npos || equals == 0) {
        fail_usage("task \"" + spec + "\": \"" + part + "\" is no key=value",
                   "write name:key=value,key=value");
      }
      const std::string key = part.substr(0, equals), value = part.substr(equals + 1);
      options[key] = try_parse_json(value).value_or(Json(value));
    }
  }
  return {spec.substr(0, colon), options};
}

std::unique_ptr<Task> make_task(const std::string& spec) {
  const TaskSpec parsed = parse_task_spec(spec);
  return make_task(parsed.name, parsed.options);
}

bool starts_plugin(const std::string& name, const Json& options) {
  if (name == "process" || name == "so" || name == "http") return true;
  if (name == "tools" && options.is_object() && options.contains("task")) {
    try {
      const TaskSpec inner = inner_spec(options["task"]);
      return starts_plugin(inner.name, inner.options);
    } catch (const Error&) {  // no task: nothing is started
      return false;
    }
  }
  const auto parts = options.find("parts");
  if (name != "mixture" || !options.is_object() || parts == options.end() || !parts->is_array())
    return false;
  for (const Json& part : *parts) {
    if (part.is_object() && part.contains("task") && part["task"].is_string() &&
        starts_plugin(part["task"].get<std::string>(), part.value("options", Json::object())))
      return true;
  }
  return false;
}

namespace {

// Makes the options fit for grading that starts nothing; the reason where that cannot be.
std::string keep_inside(const std::string& name, Json& options) {
  if (starts_plugin(name, Json::object()))
    return "its task is a plug-in, which is not started to look at a run";
  if (name == "humaneval" || name == "mbpp" || name == "code")
    return "its answers are programs, which are not run to look at a run";
  if (!options.is_object()) return {};
  if (name == "tools" && options.contains("task")) {
    TaskSpec inner = inner_spec(options["task"]);
    std::string why = keep_inside(inner.name, inner.options);
    options["task"] = {{"name", inner.name}, {"options", std::move(inner.options)}};
    options["tools"] = {"calculator"};  // nothing is called to grade
    return why;
  }
  if (name == "programs") options["runner"] = "native";
  if (name == "countdown") {  // made problems do as well: grading needs neither
    options.erase("data");
    options.erase("held_out_data");
  }
  const auto parts = options.find("parts");
  if (name != "mixture" || parts == options.end() || !parts->is_array()) return {};
  for (Json& part : *parts) {
    if (!part.is_object() || !part.contains("task") || !part["task"].is_string()) continue;
    if (!part.contains("options")) part["options"] = Json::object();
    std::string why = keep_inside(part["task"].get<std::string>(), part["options"]);
    if (!why.empty()) return why;
  }
  return {};
}

}  // namespace

std::unique_ptr<Task> make_task_to_look(const std::string& name, Json options, std::string* why) {
  std::unique_ptr<Task> task;
  try {
    *why = keep_inside(name, options);
    if (!why->empty()) return nullptr;
    looking = true;
    task = make_task(name, options);
  } catch (const std::exception& error) {
    *why = error.what();
  }
  looking = false;
  return task;
}

std::vector<TaskInfo> list_tasks() {
  std::vector<TaskInfo> tasks;
  for (const Entry& entry : entries()) tasks.push_back({entry.name, entry.summary, entry.help()});
  return tasks;
}

}  // namespace zeroth
