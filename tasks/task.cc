#include "tasks/task.h"

#include "tasks/arithmetic.h"
#include "tasks/countdown.h"
#include "tasks/number_tasks.h"
#include "tasks/parity.h"

namespace zeroth {
namespace {

struct Entry {
  const char* name;
  const char* summary;
  std::unique_ptr<Task> (*make)(const Json& options);
  std::string (*help)();
};

template <class Options>
Options read_options(const std::string& name, const Json& json) {
  Options options;
  load_config(options, json, "task " + name);
  return options;
}

template <class Options>
std::string options_help() {
  Options options;
  return config_help(options);
}

// The place where a new task of this project is added.
const std::vector<Entry>& entries() {
  static const std::vector<Entry> table = {
      {"countdown", "join given numbers by + - * / into a target, every number once",
       [](const Json& o) -> std::unique_ptr<Task> {
         return std::make_unique<CountdownTask>(read_options<CountdownOptions>("countdown", o));
       },
       options_help<CountdownOptions>},
      {"parity", "parity of a bit string",
       [](const Json& o) -> std::unique_ptr<Task> {
         return std::make_unique<ParityTask>(read_options<ParityOptions>("parity", o));
       },
       options_help<ParityOptions>},
      {"arithmetic", "multi-digit sums, differences and products with checked working",
       [](const Json& o) -> std::unique_ptr<Task> {
         return std::make_unique<ArithmeticTask>(read_options<ArithmeticOptions>("arithmetic", o));
       },
       options_help<ArithmeticOptions>},
      {"gsm8k", "word problems in GSM8K's format (a local file), final number",
       [](const Json& o) -> std::unique_ptr<Task> {
         return std::make_unique<NumberTask>("gsm8k", read_options<NumberTaskOptions>("gsm8k", o));
       },
       options_help<NumberTaskOptions>},
      {"jsonl", "prompts and answers of a JSONL file, final number",
       [](const Json& o) -> std::unique_ptr<Task> {
         return std::make_unique<NumberTask>("jsonl", read_options<NumberTaskOptions>("jsonl", o));
       },
       options_help<NumberTaskOptions>},
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

std::unique_ptr<Task> make_task(const std::string& name, const Json& options) {
  std::vector<std::string> names;
  for (const Entry& entry : entries()) {
    if (name == entry.name) return entry.make(options.is_null() ? Json::object() : options);
    names.emplace_back(entry.name);
  }
  const std::string near = nearest(name, names);
  fail_usage("no task is named \"" + name + "\"" +
                 (near.empty() ? "" : "; did you mean \"" + near + "\"?"),
             "`zeroth task list` shows the tasks");
}

std::unique_ptr<Task> make_task(const std::string& spec) {
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
      const Json parsed = Json::parse(value, nullptr, false);
      options[key] = parsed.is_discarded() ? Json(value) : parsed;
    }
  }
  return make_task(spec.substr(0, colon), options);
}

std::vector<TaskInfo> list_tasks() {
  std::vector<TaskInfo> tasks;
  for (const Entry& entry : entries()) tasks.push_back({entry.name, entry.summary, entry.help()});
  return tasks;
}

}  // namespace zeroth
