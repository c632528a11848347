#include "rl/evaluation_sets.h"

#include <algorithm>

#include "core/error.h"
#include "rl/chat.h"

namespace zeroth {
namespace {

struct SetConfig {
  std::string name;
  TaskConfig task;
  std::string split = "held_out";
  int problems = 128;
  int samples = 1;
  double temperature = 1;
  int max_tokens = 0;
  template <class V>
  void fields(V& v) {
    v("name", name, "of the metrics, eval/NAME/..");
    v("task", task, "what is evaluated on");
    v("split", split, "problems to use", Choice{{"held_out", "train"}});
    v("problems", problems, "of the split, the first so many", Range{1, 1e7});
    v("samples", samples, "completions of each", Range{1, 65536});
    v("temperature", temperature, "of sampling; 0 = greedy", Range{0, 100});
    v("max_tokens", max_tokens, "longest completion in tokens; 0 = as sampling.max_tokens",
      Range{0, 1 << 20});
  }
};

EvalOptions options_of(const RunConfig& config, int problems, int samples, double temperature,
                       int max_tokens) {
  EvalOptions options;
  options.n = problems;
  options.samples = samples;
  options.sampling = config.sampling;
  options.sampling.temperature = temperature;
  if (max_tokens > 0) options.sampling.max_tokens = max_tokens;
  options.rubric = config.rubric();
  options.rubric.max_tokens = options.sampling.max_tokens;
  options.seed = config.seed;
  options.bos = config.prompt.bos;
  return options;
}

}  // namespace

EvaluationSets::EvaluationSets(const RunConfig& config, const Task& task,
                               const PromptScreen& screen, const Tokenizer& tokenizer,
                               int64_t context)
    : config_(config) {
  const EvaluationConfig& own = config.evaluation;
  if (own.every == 0) return;
  if (own.own_task) {
    Set set;
    set.prefix = "eval/";
    set.options = options_of(config, own.problems, own.samples, own.temperature, own.max_tokens);
    set.options.screen = &screen;
    set.task = &task;
    sets_.push_back(std::move(set));
  }
  if (!own.sets.is_array()) {
    fail_usage("evaluation.sets is no list: " + own.sets.dump().substr(0, 100),
               "write [{\"name\": .., \"task\": {\"name\": .., \"options\": {..}}}, ..]");
  }
  for (const Json& json : own.sets) add(json);
  const PromptEncoder prompts(tokenizer, config.prompt.bos);
  for (Set& set : sets_) {
    if (set.task_options.is_null()) continue;  // the run's own
    const std::string name = set.task_options.at("name").get<std::string>();
    set.owned = make_task(
        name, with_chat_template(set.task_options.at("options"), tokenizer, config.prompt.date));
    set.task = set.owned.get();
    set.screen =
        std::make_unique<PromptScreen>(*set.task, prompts, context, set.options.sampling.max_tokens,
                                       config.data, set.options.split);
    set.options.screen = set.screen.get();
    for (const std::string& line : set.screen->lines()) lines_.push_back(set.prefix + " " + line);
  }
  for (Set& set : sets_) {
    set.lengths = std::make_unique<LengthHistory>(
        std::min(set.task->size(set.options.split), LengthHistory::kMost));
    set.options.lengths = set.lengths.get();
  }
}

void EvaluationSets::add(const Json& json) {
  const EvaluationConfig& own = config_.evaluation;
  SetConfig set_config;
  set_config.problems = own.problems;
  set_config.samples = own.samples;
  set_config.temperature = own.temperature;
  set_config.max_tokens = own.max_tokens;
  set_config.task = config_.task;
  load_config(set_config, json, "evaluation.sets");
  const std::string& name = set_config.name;
  const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '_' || c == '-' || c == '.';
  });
  if (!plain) {
    fail_usage("evaluation.sets: the name \"" + name + "\"",
               "use letters, digits, _ - and . for the metrics eval/NAME/..");
  }
  Set set;
  set.prefix = "eval/" + name + "/";
  for (const Set& other : sets_) {
    if (other.prefix == set.prefix)
      fail_usage("evaluation.sets: two sets are named \"" + name + "\"", "give them other names");
  }
  set.options = options_of(config_, set_config.problems, set_config.samples, set_config.temperature,
                           set_config.max_tokens);
  set.options.split = set_config.split == "train" ? Split::kTrain : Split::kHeldOut;
  set.task_options = {{"name", set_config.task.name}, {"options", set_config.task.options}};
  sets_.push_back(std::move(set));
}

Json EvaluationSets::options() const {
  Json all = Json::array();
  for (const Set& set : sets_) {
    if (!set.task_options.is_null()) all.push_back(set.task_options);
  }
  return all;
}

void EvaluationSets::run(Sampler& sampler, const Tokenizer& tokenizer, const Calls& calls,
                         Json& row) const {
  Json results = Json::object();
  int64_t recorded = 0;
  for (const Set& set : sets_) {
    EvalOptions options = set.options;
    options.stop = calls.stop;
    options.background = calls.background;
    options.team = calls.team;
    std::vector<Group> groups;
    options.on_group = [&](const Group& group) {
      if (calls.record && static_cast<int>(groups.size()) < config_.evaluation.record)
        groups.push_back(group);
    };
    add_report(set.prefix, evaluate(sampler, tokenizer, *set.task, options), results);
    if (!groups.empty()) calls.record(recorded, groups);
    recorded += static_cast<int64_t>(groups.size());
  }
  row.update(results);
}

void add_report(const std::string& prefix, const EvalReport& report, Json& row) {
  const Json facts = report.to_json();
  for (const auto& [name, value] : facts.items()) {
    if (value.is_number()) row[prefix + name] = value;
  }
  for (const auto& [part, of_part] : report.parts) {
    const Json of = of_part.to_json();
    for (const char* name : {"pass@1", "avg@K", "mean_length", "truncated"})
      row[prefix + part + "/" + name] = of.at(name);
  }
}

}  // namespace zeroth
