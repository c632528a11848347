#include "tasks/plugins/plugin_task.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "core/system.h"
#include "tasks/plugins/plugin_http.h"
#include "tasks/plugins/plugin_process.h"

namespace zeroth {
namespace {

constexpr size_t kMaxKnown = 1 << 16;
constexpr size_t kMaxExtracted = 4096;
constexpr size_t kMaxSaid = 1000;  // bytes of a reason in the plug-in's own words

std::unique_ptr<Task> make_base(const Json& spec) {
  if (spec.is_null() || (spec.is_string() && spec.get<std::string>().empty())) return nullptr;
  if (spec.is_string()) return make_task(spec.get<std::string>());
  if (spec.is_object() && spec.contains("name") && spec["name"].is_string())
    return make_task(spec["name"].get<std::string>(), spec.value("options", Json::object()));
  fail_usage("problems = " + spec.dump().substr(0, 100) + " names no task",
             "give \"NAME:key=value,..\" or {\"name\": .., \"options\": {..}}");
}

Reason reason_named(const std::string& name) {
  for (int i = 0; i <= static_cast<int>(Reason::kNotApplicable); ++i) {
    if (name == to_string(static_cast<Reason>(i)) && i != static_cast<int>(Reason::kNone))
      return static_cast<Reason>(i);
  }
  return Reason::kNone;
}

double number_of(const Json& value) {
  return value.is_boolean() ? (value.get<bool>() ? 1 : 0) : value.get<double>();
}

// A result that is none: throws what is to be counted.
[[noreturn]] void reject(PluginFaultKind kind, const std::string& what) {
  throw PluginFault(kind, what.substr(0, 200));
}

std::string shown_json(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 100);
}

int64_t count_of(const Json& hello, const char* key) {
  const auto found = hello.find(key);
  if (found == hello.end() || found->is_null()) return 0;
  if (!found->is_number_integer() || found->get<int64_t>() < 0) {
    fail(std::string("the plug-in's hello has \"") + key + "\": " + found->dump().substr(0, 60),
         "give the number of problems of the split");
  }
  return found->get<int64_t>();
}

Json problem_json(const Problem& problem) {
  return {{"id", problem.id},
          {"prompt", problem.prompt},
          {"answer", problem.answer},
          {"meta", problem.meta}};
}

Json turns_json(std::string_view text, std::span<const Turn> turns) {
  Json out = Json::array();
  for (size_t i = 0; i < turns.size(); ++i) {
    out.push_back({{"reply", std::string(reply_of(text, turns, i))},
                   {"observation", turns[i].observation},
                   {"reward", turns[i].reward}});
  }
  return out;
}

}  // namespace

PluginTask::PluginTask(std::string name, PluginOptions options,
                       std::function<std::unique_ptr<PluginChannel>(int)> make)
    : name_(std::move(name)), options_(std::move(options)), base_(make_base(options_.problems)) {
  options_.render("");
  if (!options_.part_weights.is_object())
    fail_usage("part_weights is no object", "write {\"NAME\": weight, ..}");
  for (const auto& [part, weight] : options_.part_weights.items()) {
    if (!weight.is_number())
      fail_usage("part_weights." + part + " = " + weight.dump() + " is no number", "give a number");
  }
  const Json hello = {{"op", "hello"}, {"zeroth", 1}, {"options", options_.options}};
  pool_ = std::make_unique<PluginPool>(std::move(make), hello, options_);
  const Json reply = pool_->greet();
  if (reply.contains("name") && reply["name"].is_string())
    name_ = reply["name"].get<std::string>().substr(0, 100);
  sizes_[0] = count_of(reply, "train");
  sizes_[1] = count_of(reply, "held_out");
  levels_ = static_cast<int>(std::clamp<int64_t>(count_of(reply, "levels"), 1, 1 << 20));
  read_turns(reply);
  whole_groups_ = options_.whole_groups || reply.value("groups", Json()) == true;
  if (reply.contains("stop") && reply["stop"].is_array()) {
    for (const Json& stop : reply["stop"]) {
      if (stop.is_string()) stop_strings_.push_back(stop.get<std::string>());
    }
  }
  if (base_ == nullptr && sizes_[0] + sizes_[1] == 0) {
    fail_usage("task " + name_ + ": the plug-in makes no problems",
               "name a task that makes them, for example problems=gsm8k:path=FILE, or answer hello "
               "with \"train\" and \"held_out\" counts");
  }
}

PluginTask::~PluginTask() = default;

int64_t PluginTask::size(Split split) const {
  return base_ ? base_->size(split) : sizes_[split == Split::kHeldOut];
}

int PluginTask::levels() const { return base_ ? base_->levels() : levels_; }

std::vector<std::string> PluginTask::stop_strings() const {
  std::vector<std::string> stops = base_ ? base_->stop_strings() : options_.stop_strings();
  stops.insert(stops.end(), stop_strings_.begin(), stop_strings_.end());
  return stops;
}

Problem PluginTask::read_problem(Split split, int64_t index, const Json& row) const {
  const auto text = [&](const char* key) {
    const auto found = row.find(key);
    if (found == row.end() || found->is_null()) return std::string();
    return found->is_string() ? found->get<std::string>() : found->dump();
  };
  Problem problem;
  problem.task = name_;
  problem.id = text("id");
  if (problem.id.empty())
    problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + std::to_string(index);
  const auto prompt = row.find("prompt");
  if (prompt != row.end() && prompt->is_array()) {
    const auto tools = row.find("tools");
    problem.prompt = options_.render_messages(*prompt, tools != row.end() ? *tools : Json(),
                                              "problem " + problem.id);
  } else if (prompt != row.end() && prompt->is_string() && !prompt->get<std::string>().empty()) {
    problem.prompt = options_.render(prompt->get<std::string>());
  } else {
    fail("task " + name_ + ": problem " + problem.id + " has no prompt",
         "give \"prompt\", a text or chat messages");
  }
  problem.answer = text("answer");
  if (row.contains("meta")) problem.meta = row["meta"];
  return problem;
}

Problem PluginTask::problem(Split split, int64_t index) const {
  if (base_) {
    Problem problem = base_->problem(split, index);
    problem.task = name_;
    return problem;
  }
  if (index < 0 || index >= size(split)) {
    fail("task " + name_ + ": problem " + std::to_string(index) + " of " +
         std::to_string(size(split)));
  }
  const std::pair<int, int64_t> key{static_cast<int>(split), index};
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(key);
    if (found != known_.end()) return found->second;
  }
  const Json reply = pool_->ask({{"op", "problems"},
                                 {"split", split == Split::kHeldOut ? "held_out" : "train"},
                                 {"indices", Json::array({index})}});
  const auto list = reply.find("problems");
  if (list == reply.end() || !list->is_array() || list->size() != 1 || !(*list)[0].is_object()) {
    fail("task " + name_ + ": the plug-in did not answer with one problem: " +
             reply.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 160),
         "answer {\"id\": .., \"problems\": [{\"prompt\": .., \"answer\": ..}]}");
  }
  const Problem problem = read_problem(split, index, (*list)[0]);
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_.emplace(key, problem);
  return problem;
}

ProblemOrigin PluginTask::origin(Split split, int64_t index) const {
  return base_ ? base_->origin(split, index) : ProblemOrigin();
}

// Problems of another task come with its prompt, so the prompt itself has to say whether the
// thinking is open.
FormatRules PluginTask::rules_for(const Problem& problem) const {
  FormatRules rules = options_.format_rules();
  rules.think_opened = trim(problem.prompt).ends_with("<think>");
  return rules;
}

std::string PluginTask::gold_completion(const Problem& problem) const {
  if (base_) return base_->gold_completion(problem);
  if (problem.meta.is_object() && problem.meta.contains("gold") && problem.meta["gold"].is_string())
    return problem.meta["gold"].get<std::string>();
  return problem.answer.empty() ? "" : options_.wrap_answer(problem.answer);
}

std::string PluginTask::cluster(const Problem& problem) const {
  return base_ ? base_->cluster(problem) : problem.id;
}

// A number or a truth value as the score; null says that the reward does not apply.
static void read_score(const Json& value, const std::string& what, Verdict& verdict) {
  if (value.is_null()) {
    verdict.reason = Reason::kNotApplicable;
  } else if (value.is_number() || value.is_boolean()) {
    verdict.score = number_of(value);
  } else {
    reject(PluginFaultKind::kGarbage, what + " is no number");
  }
}

void PluginTask::read_parts(const Json& parts, std::vector<Verdict>& verdicts) const {
  std::vector<Verdict> read;
  for (const auto& [name, value] : parts.items()) {
    if (name == "accuracy" || name == "format")
      reject(PluginFaultKind::kGarbage, "a part may not be named \"" + name + "\"");
    Verdict part;
    part.name = name;
    part.weight = options_.part_weights.value(name, 0.0);
    part.reason = Reason::kShaped;
    read_score(value, "part \"" + name + "\"", part);
    read.push_back(std::move(part));
  }
  for (Verdict& part : read) verdicts.push_back(std::move(part));
}

void PluginTask::read_result(const Json& result, std::vector<Verdict>& verdicts) const {
  Verdict& accuracy = verdicts[0];
  if (!result.is_object()) return read_score(result, "a result " + shown_json(result), accuracy);
  if (result.contains("error") && !result["error"].is_null()) {
    const Json& error = result["error"];
    reject(PluginFaultKind::kReported, error.is_string() ? error.get<std::string>() : error.dump());
  }
  if (result.contains("timeout") && result["timeout"] == true)
    reject(PluginFaultKind::kTimeout, "the plug-in says that its checker ran out of time");
  const auto score = result.find("score");
  if (score == result.end()) reject(PluginFaultKind::kGarbage, "a result without a \"score\"");
  read_score(*score, "the \"score\" of a result", accuracy);
  if (result.contains("info") && result["info"].is_object()) {
    accuracy.info.update(result["info"]);
    if (accuracy.info.value("applies", Json()) == false) accuracy.reason = Reason::kNotApplicable;
  }
  if (result.contains("reason") && result["reason"].is_string()) {
    const auto& text = result["reason"].get_ref<const std::string&>();
    const Reason known = reason_named(text);
    if (known != Reason::kNone) accuracy.reason = known;
    if (known == Reason::kNone && !text.empty()) accuracy.info["said"] = text.substr(0, kMaxSaid);
  }
  if (result.contains("extracted") && result["extracted"].is_string())
    accuracy.extracted = result["extracted"].get<std::string>().substr(0, kMaxExtracted);
  if (result.contains("parts") && result["parts"].is_object())
    read_parts(result["parts"], verdicts);
}

std::vector<Verdict> PluginTask::verdicts_of(const GradeRequest& request,
                                             const PluginOutcome& outcome) const {
  const FormatRules rules = rules_for(*request.problem);
  const ResponseParts parts = split_response(request.completion, rules);
  std::vector<Verdict> verdicts(1);
  verdicts[0].name = "accuracy";
  verdicts[0].weight = options_.accuracy_weight;
  verdicts[0].info = Json::object();
  if (parts.reason == Reason::kNone)
    verdicts[0].extracted = std::string(parts.answer.substr(0, kMaxExtracted));
  std::string fault = outcome.fault, detail = outcome.detail;
  if (fault.empty()) {
    try {
      read_result(outcome.result, verdicts);
    } catch (const PluginFault& bad) {
      fault = to_string(bad.kind);
      detail = bad.what();
    }
  }
  Verdict& accuracy = verdicts[0];
  if (!fault.empty()) {
    accuracy.score = 0;
    accuracy.reason = Reason::kCheckerError;
    accuracy.info = {{"fault", fault}, {"detail", detail}};
  } else {
    const bool right = accuracy.score >= 1;
    if (accuracy.reason == Reason::kNone) {
      accuracy.reason = right                                     ? Reason::kCorrect
                        : request.finish == FinishReason::kLength ? Reason::kTruncated
                                                                  : Reason::kWrong;
    }
    if (accuracy.reason != Reason::kNotApplicable)
      add_thinking_facts(!trim(parts.think).empty(), right, accuracy.info);
  }
  if (options_.format_weight != 0) {
    Verdict format = check_format(request.completion, rules, request.finish);
    format.weight = options_.format_weight;
    verdicts.push_back(std::move(format));
  }
  return verdicts;
}

std::vector<std::vector<Verdict>> PluginTask::grade_batch(
    std::span<const GradeRequest> requests) const {
  std::vector<Json> items;
  std::vector<size_t> starts;  // of what is never cut: a sample, or the samples of a group
  int64_t last_group = -1;
  for (const GradeRequest& request : requests) {
    const ResponseParts parts = split_response(request.completion, rules_for(*request.problem));
    Json item = {{"problem", problem_json(*request.problem)},
                 {"completion", std::string(request.completion)},
                 {"answer", nullptr},
                 {"finish", to_string(request.finish)}};
    if (!request.turns.empty()) item["turns"] = turns_json(request.completion, request.turns);
    if (parts.reason == Reason::kNone) item["answer"] = std::string(parts.answer);
    const bool alone = !whole_groups_ || request.group < 0;
    if (alone || items.empty() || request.group != last_group) starts.push_back(items.size());
    last_group = alone ? -1 : request.group;
    if (whole_groups_) item["group"] = static_cast<int64_t>(starts.size()) - 1;
    items.push_back(std::move(item));
  }
  const std::vector<PluginOutcome> outcomes = pool_->grade(items, starts);
  std::vector<std::vector<Verdict>> results;
  for (size_t i = 0; i < requests.size(); ++i)
    results.push_back(verdicts_of(requests[i], outcomes[i]));
  return results;
}

void PluginTask::read_turns(const Json& hello) {
  const auto turns = hello.find("turns");
  if (turns == hello.end() || turns->is_null() || *turns == false) return;
  const int64_t asked = *turns == true ? EnvironmentLimits().max_turns : count_of(hello, "turns");
  turns_ = static_cast<int>(std::clamp<int64_t>(asked, 0, options_.max_turns));
}

// Throws PluginFault, and Error for a message that the template cannot put.
StepResult PluginTask::read_step(const Json& result) const {
  StepResult step;
  if (!result.is_object())
    reject(PluginFaultKind::kGarbage, "a step " + shown_json(result) + " is no object");
  if (result.contains("error") && !result["error"].is_null()) {
    const Json& error = result["error"];
    reject(PluginFaultKind::kReported, error.is_string() ? error.get<std::string>() : error.dump());
  }
  Json words = result.value("observation", Json());
  if (words.is_array() && words.size() == 1) words = words[0];
  std::string role = "user";
  if (words.is_object()) {
    if (words.contains("role") && words["role"].is_string()) role = words["role"];
    words = words.value("content", Json());
    if (!words.is_string()) reject(PluginFaultKind::kGarbage, "an observation without a text");
  }
  if (words.is_string()) step.observation = words.get<std::string>();
  if (!words.is_string() && !words.is_null())
    reject(PluginFaultKind::kGarbage, "an observation that is neither a text nor a message");
  const Json done = result.value("done", Json(words.is_null()));
  if (!done.is_boolean()) reject(PluginFaultKind::kGarbage, "\"done\" is neither true nor false");
  step.done = done.get<bool>() || words.is_null();
  const Json reward = result.value("reward", Json(0));
  if (!reward.is_number() && !reward.is_boolean())
    reject(PluginFaultKind::kGarbage, "the \"reward\" of a turn is no number");
  step.reward = number_of(reward);
  if (!std::isfinite(step.reward))
    reject(PluginFaultKind::kGarbage, "the \"reward\" of a turn is not finite");
  if (result.contains("info") && result["info"].is_object()) step.info = result["info"];
  if (step.done) return step;
  const ResponseOptions::Frame frame = options_.frame(role);
  step.lead = frame.lead;
  step.tail = frame.tail;
  return step;
}

StepResult PluginTask::step_of(const PluginOutcome& outcome) const {
  StepResult step;
  step.fault = outcome.fault;
  step.detail = outcome.detail;
  if (!step.fault.empty()) return step;
  try {
    return read_step(outcome.result);
  } catch (const PluginFault& bad) {
    step.fault = to_string(bad.kind);
    step.detail = bad.what();
  } catch (const Error& error) {
    step.fault = to_string(PluginFaultKind::kGarbage);
    step.detail = error.what();
  }
  return step;
}

std::vector<StepResult> PluginTask::step(std::span<const StepRequest> requests) const {
  std::vector<Json> items;
  std::vector<size_t> starts;
  for (const StepRequest& request : requests) {
    starts.push_back(items.size());
    items.push_back({{"problem", problem_json(*request.problem)},
                     {"turns", turns_json(request.text, request.before)},
                     {"reply", std::string(request.reply)},
                     {"finish", to_string(request.finish)}});
  }
  std::vector<StepResult> results;
  for (const PluginOutcome& outcome : pool_->grade(items, starts, "step"))
    results.push_back(step_of(outcome));
  return results;
}

std::unique_ptr<Task> make_process_task(ProcessOptions options) {
  std::vector<std::string> argv;
  if (options.command.is_string()) {
    std::istringstream words(options.command.get<std::string>());
    for (std::string word; words >> word;) argv.push_back(word);
  } else if (options.command.is_array()) {
    for (const Json& word : options.command) {
      if (!word.is_string())
        fail_usage("task process: command holds " + word.dump(), "give a list of texts");
      argv.push_back(word.get<std::string>());
    }
  }
  if (argv.empty()) {
    fail_usage("task process: no command",
               "give one, for example process:command=[\"python3\",\"task.py\"]");
  }
  return std::make_unique<PluginTask>(
      "process", options, [argv](int) { return std::make_unique<ProcessChannel>(argv); });
}

std::unique_ptr<Task> make_so_task(SoOptions options) {
  if (options.path.empty())
    fail_usage("task so: no path", "give the library, for example so:path=./libtask.so");
  if (!std::filesystem::exists(options.path))
    fail_usage("task so: there is no file " + options.path, "correct the path, or build it first");
  std::string host = options.host;
  if (host.empty()) host = system::program_file().string();
  const std::vector<std::string> argv = {host, "task", "serve",
                                         std::filesystem::absolute(options.path).string()};
  return std::make_unique<PluginTask>(
      "so", options, [argv](int) { return std::make_unique<ProcessChannel>(argv); });
}

std::unique_ptr<Task> make_http_task(HttpOptions options) {
  if (options.url.empty())
    fail_usage("task http: no url", "give one, for example http:url=http://127.0.0.1:8000/verify");
  const HttpUrl url = parse_http_url(options.url);
  const HttpShape shape = http_shape(options.shape);
  if (shape == HttpShape::kNemoGym && options.whole_groups)
    fail_usage("task http: whole_groups with shape nemo_gym, which grades one completion a request",
               "use shape zeroth or openrlhf");
  return std::make_unique<PluginTask>(
      "http", options, [url, shape](int) { return std::make_unique<HttpChannel>(url, shape); });
}

}  // namespace zeroth
