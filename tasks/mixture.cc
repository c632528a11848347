#include "tasks/mixture.h"

#include <algorithm>

namespace zeroth {
namespace {

constexpr int64_t kCycle = 1000;
constexpr int64_t kMaxSize = int64_t{1} << 31;
constexpr size_t kMaxParts = 64;

struct MixtureOptions {
  Json parts = Json::array();
  bool levels = false;
  template <class V>
  void fields(V& v) {
    v("parts", parts,
      "tasks with weights: [{\"task\": NAME, \"weight\": W, \"options\": {..}}, ..], 1 to 64");
    v("levels", levels, "the parts are levels of difficulty, easiest first; weights do not count");
  }
};

struct PartOptions {
  std::string task;
  std::string name;
  double weight = 1;
  Json options = Json::object();
  template <class V>
  void fields(V& v) {
    v("task", task, "name of the task");
    v("name", name, "what metrics and reports call the part; empty: the task's name");
    v("weight", weight, "share of the problems, relative to the other parts", Range{1e-9, 1e9});
    v("options", options, "options of the task");
  }
};

}  // namespace

MixtureTask::MixtureTask(std::vector<Part> parts, bool levels)
    : parts_(std::move(parts)), levels_(levels), slots_of_(parts_.size()) {
  if (levels_) {
    for (Part& part : parts_) part.weight = 1;
  }
  const auto length = levels_ ? static_cast<int64_t>(parts_.size()) : kCycle;
  double total = 0;
  for (const Part& part : parts_) total += part.weight;
  // Each slot goes to the part that is furthest behind its share; ties to the earlier one.
  for (int64_t slot = 0; slot < length; ++slot) {
    size_t next = 0;
    double furthest = -1e300;
    for (size_t i = 0; i < parts_.size(); ++i) {
      const double behind = parts_[i].weight / total * static_cast<double>(slot + 1) -
                            static_cast<double>(slots_of_[i]);
      if (behind > furthest) {
        furthest = behind;
        next = i;
      }
    }
    cycle_.push_back({next, slots_of_[next]++});
  }
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (slots_of_[i] == 0) {
      fail_usage("task mixture: the weight of part \"" + parts_[i].name +
                     "\" is under a thousandth of the sum",
                 "raise it or leave the part out");
    }
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      if (parts_[i].task->size(split) > 0) continue;
      fail_usage("task mixture: part \"" + parts_[i].name + "\" has an empty split",
                 "give it more data");
    }
  }
}

int64_t MixtureTask::size(Split split) const {
  int64_t longest = 0, shortest = kMaxSize;
  for (size_t i = 0; i < parts_.size(); ++i) {
    const int64_t cycles = (parts_[i].task->size(split) + slots_of_[i] - 1) / slots_of_[i];
    longest = std::max(longest, cycles);
  }
  if (split == Split::kTrain)
    return std::min(kMaxSize, longest * static_cast<int64_t>(cycle_.size()));
  // Up to the first slot whose part has no problem left.
  for (size_t i = 0; i < parts_.size(); ++i) {
    const int64_t have = parts_[i].task->size(split);
    const int64_t cycles = have / slots_of_[i], rest = have % slots_of_[i];
    const auto end = std::find_if(cycle_.begin(), cycle_.end(), [&](const Slot& slot) {
      return slot.part == i && slot.rank == rest;
    });
    shortest =
        std::min(shortest, cycles * static_cast<int64_t>(cycle_.size()) + (end - cycle_.begin()));
  }
  return shortest;
}

Problem MixtureTask::problem(Split split, int64_t index) const {
  int64_t within = 0;
  const Part& part = part_at(split, index, &within);
  const auto number = static_cast<size_t>(&part - parts_.data());
  Problem problem = part.task->problem(split, within);
  problem.id = std::to_string(number) + "-" + part.name + "-" + problem.id;
  problem.meta = Json{{"part", number}, {"meta", std::move(problem.meta)}};
  return problem;
}

const MixtureTask::Part& MixtureTask::part_at(Split split, int64_t index, int64_t* within) const {
  if (index < 0 || index >= size(split))
    fail("task mixture: problem " + std::to_string(index) + " does not exist");
  const auto length = static_cast<int64_t>(cycle_.size());
  const Slot& slot = cycle_[static_cast<size_t>(index % length)];
  const Part& part = parts_[slot.part];
  *within = (index / length * slots_of_[slot.part] + slot.rank) % part.task->size(split);
  return part;
}

ProblemOrigin MixtureTask::origin(Split split, int64_t index) const {
  int64_t within = 0;
  const Part& part = part_at(split, index, &within);
  return part.task->origin(split, within);
}

bool MixtureTask::reads_rows() const {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.task->reads_rows(); });
}

std::string MixtureTask::part(const Problem& problem) const {
  const auto number = problem.meta.at("part").get<size_t>();
  const std::string& name = parts_.at(number).name;
  const auto same = std::count_if(parts_.begin(), parts_.end(),
                                  [&](const Part& part) { return part.name == name; });
  return same > 1 ? name + "." + std::to_string(number) : name;
}

Problem MixtureTask::inner(const Problem& problem, size_t* part) const {
  *part = problem.meta.at("part").get<size_t>();
  Problem own = problem;
  own.meta = problem.meta.at("meta");
  return own;
}

void MixtureTask::label(size_t part, std::vector<Verdict>& verdicts) const {
  for (Verdict& verdict : verdicts) {
    if (verdict.name != "accuracy") continue;
    verdict.info[parts_.at(part).name] = 1;
    verdict.info[parts_.at(part).name + "_right"] = verdict.score >= 1 ? 1 : 0;
  }
}

std::vector<Verdict> MixtureTask::grade(const Problem& problem, std::string_view completion,
                                        FinishReason finish) const {
  size_t part = 0;
  const Problem own = inner(problem, &part);
  std::vector<Verdict> verdicts = parts_.at(part).task->grade(own, completion, finish);
  label(part, verdicts);
  return verdicts;
}

std::vector<std::vector<Verdict>> MixtureTask::grade_batch(
    std::span<const GradeRequest> requests) const {
  std::vector<Problem> own(requests.size());
  std::vector<std::vector<GradeRequest>> by_part(parts_.size());
  std::vector<std::vector<size_t>> places(parts_.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    size_t part = 0;
    own[i] = inner(*requests[i].problem, &part);
    by_part.at(part).push_back({&own[i], requests[i].completion, requests[i].finish,
                                requests[i].group, requests[i].turns});
    places[part].push_back(i);
  }
  std::vector<std::vector<Verdict>> results(requests.size());
  for (size_t part = 0; part < parts_.size(); ++part) {
    auto verdicts = parts_[part].task->grade_batch(by_part[part]);
    for (size_t i = 0; i < verdicts.size(); ++i) {
      label(part, verdicts[i]);
      results[places[part][i]] = std::move(verdicts[i]);
    }
  }
  return results;
}

std::string MixtureTask::gold_completion(const Problem& problem) const {
  size_t part = 0;
  const Problem own = inner(problem, &part);
  return parts_.at(part).task->gold_completion(own);
}

std::vector<std::string> MixtureTask::stop_strings() const {
  std::vector<std::string> all;
  for (const Part& part : parts_) {
    for (const std::string& stop : part.task->stop_strings()) {
      if (std::find(all.begin(), all.end(), stop) == all.end()) all.push_back(stop);
    }
  }
  return all;
}

std::vector<std::string> MixtureTask::notes() const {
  std::vector<std::string> all;
  for (const Part& part : parts_) {
    for (const std::string& note : part.task->notes()) all.push_back(part.name + ": " + note);
  }
  return all;
}

bool MixtureTask::grades_here() const {
  return std::all_of(parts_.begin(), parts_.end(),
                     [](const Part& part) { return part.task->grades_here(); });
}

std::string MixtureTask::cluster(const Problem& problem) const {
  size_t part = 0;
  const Problem own = inner(problem, &part);
  return std::to_string(part) + ":" + parts_.at(part).task->cluster(own);
}

bool MixtureTask::is_chat(const Problem& problem) const {
  size_t part = 0;
  const Problem own = inner(problem, &part);
  return parts_.at(part).task->is_chat(own);
}

const Environment* MixtureTask::environment() const {
  const bool any = std::any_of(parts_.begin(), parts_.end(), [](const Part& part) {
    return part.task->environment() != nullptr;
  });
  return any ? this : nullptr;
}

const Environment* MixtureTask::environment_of(const Problem& problem, Problem* own) const {
  size_t part = 0;
  *own = inner(problem, &part);
  return parts_.at(part).task->environment();
}

int MixtureTask::max_turns(const Problem& problem) const {
  Problem own;
  const Environment* environment = environment_of(problem, &own);
  return environment != nullptr ? environment->max_turns(own) : 1;
}

int MixtureTask::max_observation_tokens(const Problem& problem) const {
  Problem own;
  const Environment* environment = environment_of(problem, &own);
  return environment != nullptr ? environment->max_observation_tokens(own) : 1;
}

double MixtureTask::turn_weight(const Problem& problem) const {
  Problem own;
  const Environment* environment = environment_of(problem, &own);
  return environment != nullptr ? environment->turn_weight(own) : 0;
}

std::vector<std::string> MixtureTask::turn_stops(const Problem& problem) const {
  Problem own;
  const Environment* environment = environment_of(problem, &own);
  return environment != nullptr ? environment->turn_stops(own) : std::vector<std::string>();
}

std::vector<StepResult> MixtureTask::step(std::span<const StepRequest> requests) const {
  std::vector<Problem> own(requests.size());
  std::vector<std::vector<StepRequest>> by_part(parts_.size());
  std::vector<std::vector<size_t>> places(parts_.size());
  std::vector<StepResult> results(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    size_t part = 0;
    own[i] = inner(*requests[i].problem, &part);
    results[i].done = parts_.at(part).task->environment() == nullptr;
    if (results[i].done) continue;
    by_part[part].push_back(requests[i]);
    by_part[part].back().problem = &own[i];
    places[part].push_back(i);
  }
  for (size_t part = 0; part < parts_.size(); ++part) {
    if (by_part[part].empty()) continue;
    auto answers = parts_[part].task->environment()->step(by_part[part]);
    for (size_t i = 0; i < answers.size(); ++i) results[places[part][i]] = std::move(answers[i]);
  }
  return results;
}

std::unique_ptr<Task> make_mixture(const Json& json) {
  MixtureOptions options;
  load_config(options, json, "task mixture");
  if (!options.parts.is_array() || options.parts.empty() || options.parts.size() > kMaxParts) {
    fail_usage("task mixture: parts " + options.parts.dump().substr(0, 200),
               "give 1 to 64 parts, [{\"task\": NAME, \"weight\": W, \"options\": {..}}, ..]");
  }
  std::vector<MixtureTask::Part> parts;
  for (const Json& part_json : options.parts) {
    PartOptions part;
    load_config(part, part_json, "task mixture");
    if (part.task == "mixture")
      fail_usage("task mixture: a part is a mixture itself", "list its parts here");
    parts.push_back({part.name.empty() ? part.task : part.name, make_task(part.task, part.options),
                     part.weight});
  }
  return std::make_unique<MixtureTask>(std::move(parts), options.levels);
}

std::string mixture_help() {
  MixtureOptions options;
  return config_help(options);
}

}  // namespace zeroth
