#include "tasks/tools/tools_task.h"

#include <algorithm>

#include "core/error.h"
#include "rewards/expression.h"
#include "tasks/builtin/code_task.h"
#include "tasks/task_spec.h"

namespace zeroth {
namespace {

std::string tag(const std::string& name, bool closing) {
  return (closing ? "</" : "<") + name + ">";
}

bool blank(char c) { return c == ' ' || c == '\t'; }

// Whether an expression may begin at a byte: not inside a number, nor behind an operator.
bool may_begin(std::string_view text, size_t at) {
  const auto digit = [&](size_t i) { return text[i] >= '0' && text[i] <= '9'; };
  if (at > 0 && digit(at) && digit(at - 1)) return false;
  if (at > 1 && (text[at - 1] == '.' || text[at - 1] == ',') && digit(at - 2)) return false;
  while (at > 0 && blank(text[at - 1])) --at;
  return at == 0 || std::string_view("+-*/(").find(text[at - 1]) == std::string_view::npos;
}

// The longest expression with an operator at the end of the text's last line; empty: none.
std::string_view expression_at_end(std::string_view text) {
  constexpr size_t kMost = 256;
  size_t begin = text.size();
  while (begin > 0 && text.size() - begin < kMost &&
         std::string_view("0123456789+-*/() \t").find(text[begin - 1]) != std::string_view::npos)
    --begin;
  std::string_view tail = text.substr(begin);
  for (; !tail.empty(); tail.remove_prefix(1)) {
    if (blank(tail.front()) || !may_begin(text, text.size() - tail.size())) continue;
    const Expression expression = evaluate_expression(tail);
    if (expression.ok() && expression.numbers.size() > 1) return tail;
  }
  return {};
}

}  // namespace

TaskSpec inner_spec(const Json& task) {
  if (task.is_string() && !task.get<std::string>().empty())
    return parse_task_spec(task.get<std::string>());
  if (task.is_object() && task.contains("name") && task["name"].is_string())
    return {task["name"].get<std::string>(), task.value("options", Json::object())};
  fail_usage("task tools: task = " + task.dump().substr(0, 100) + " names no task",
             "give \"NAME:key=value,..\" or {\"name\": .., \"options\": {..}}");
}

ToolsTask::ToolsTask(ToolsOptions options) : options_(std::move(options)) {
  const TaskSpec spec = inner_spec(options_.task);
  if (options_.tools.empty()) fail_usage("task tools: no tools", "name calculator, python or both");
  if (options_.calls == "equals" && options_.tools != std::vector<std::string>{"calculator"})
    fail_usage("task tools: calls = equals, which knows the calculator alone",
               "set tools to [\"calculator\"], or calls to tags");
  inner_ = make_task(spec.name, spec.options);
  if (inner_->environment() != nullptr)
    fail_usage("task tools: task " + spec.name + " has an environment of its own",
               "give a task of one turn");
  for (const std::string& name : options_.tools) {
    if (name == "calculator") {
      tools_.push_back(make_calculator());
    } else if (name == "python") {
      SandboxOptions sandbox;
      sandbox.workers = options_.workers;
      if (pool_ == nullptr) pool_ = make_sandbox_pool(sandbox);
      tools_.push_back(
          make_python_tool(*pool_, {options_.time_limit, options_.memory_mb, options_.max_output}));
    } else {
      fail_usage("task tools: no tool is named \"" + name + "\"",
                 "there are calculator and python");
    }
  }
}

ToolsTask::~ToolsTask() = default;

std::vector<std::string> ToolsTask::turn_stops(const Problem&) const {
  if (options_.calls == "equals") return {"="};
  std::vector<std::string> stops;
  for (const auto& tool : tools_) stops.push_back(tag(tool->name(), true));
  return stops;
}

// A call ends the reply: what the policy wrote behind one answers it by itself.
ToolsTask::Call ToolsTask::call_of(std::string_view reply) const {
  if (options_.calls == "equals") {
    if (reply.empty() || reply.back() != '=') return {};
    reply.remove_suffix(1);
    return {0, expression_at_end(reply), true};
  }
  for (size_t i = 0; i < tools_.size(); ++i) {
    const std::string open = tag(tools_[i]->name(), false), close = tag(tools_[i]->name(), true);
    if (!reply.ends_with(close)) continue;
    const std::string_view front = reply.substr(0, reply.size() - close.size());
    const size_t at = front.rfind(open);
    if (at != std::string_view::npos) return {i, front.substr(at + open.size()), true};
  }
  return {};
}

std::vector<StepResult> ToolsTask::step(std::span<const StepRequest> requests) const {
  std::vector<StepResult> results(requests.size());
  std::vector<std::vector<std::string_view>> calls(tools_.size());
  std::vector<std::vector<size_t>> places(tools_.size());
  const bool equals = options_.calls == "equals";
  for (size_t i = 0; i < requests.size(); ++i) {
    const Call call = call_of(requests[i].reply);
    results[i].info = {{"tool_calls", call.found && !(equals && call.text.empty()) ? 1 : 0},
                       {"tool_errors", 0}};
    results[i].done = !call.found;
    // A sign that no sum stands in front of: the policy goes on by itself.
    if (!call.found || (equals && call.text.empty())) continue;
    calls[call.tool].push_back(call.text);
    places[call.tool].push_back(i);
  }
  for (size_t t = 0; t < tools_.size(); ++t) {
    if (calls[t].empty()) continue;
    const std::vector<ToolAnswer> answers = tools_[t]->answer(calls[t]);
    for (size_t k = 0; k < answers.size(); ++k) {
      StepResult& result = results[places[t][k]];
      const ToolAnswer& answer = answers[k];
      result.fault = answer.fault;
      result.detail = answer.detail;
      result.info["tool_errors"] = answer.failed ? 1 : 0;
      result.reward = answer.failed ? 0 : options_.call_reward;
      result.observation = equals ? (answer.failed ? "" : answer.text)
                                  : options_.result_open + answer.text + options_.result_close;
    }
  }
  return results;
}

}  // namespace zeroth
