// `zeroth rescore RUN`: grades the stored traces of a run again, with the grader of this build or
// with another task, under the run's rubric, and shows what changes. Reads only.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <map>
#include <memory>
#include <tuple>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/start_plugins.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/error.h"
#include "core/terminal.h"
#include "record/trace_store.h"
#include "rewards/rubric.h"
#include "rl/grading.h"
#include "rollout/sampling_config.h"
#include "tasks/task.h"

namespace zeroth {
namespace {

struct RescoreOptions {
  std::string task;
  int64_t from = 0, to = INT64_MAX / 2;
  int64_t show = 5;
  bool changes = false;
  bool json = false;
  bool start_plugins = false;
  template <class V>
  void fields(V& v) {
    v("task", task, "grade with this task instead of the run's own: NAME or NAME:key=value,..");
    v("from", from, "first step", Range{0, 1e15});
    v("to", to, "last step");
    v("show", show, "changed samples that are shown", Range{0, 1e9});
    v("changes", changes, "print one JSON object for every changed sample, then the summary");
    v("json", json, "print the summary as one JSON object");
    v("start_plugins", start_plugins,
      "start the command, library or server that the run names as its grader");
  }
};

std::string dumped(const Json& json) { return json_line(json); }

const Verdict* find(const std::vector<Verdict>& verdicts, const std::string& name) {
  for (const Verdict& verdict : verdicts) {
    if (verdict.name == name) return &verdict;
  }
  return nullptr;
}

// A kept verdict is what was stored; one that is broken now is no change, but an error.
bool differs(const Verdict& before, const Verdict& after) {
  return before.score != after.score || before.reason != after.reason;
}

class Rescore {
 public:
  Rescore(const Task& task, const Rubric& rubric, const RescoreOptions& options)
      : task_(task), rubric_(rubric), options_(options) {}

  void add(int64_t step, const Group& group) {
    const Group graded = grade(group);
    for (size_t i = 0; i < group.samples.size(); ++i) {
      const Sample& sample = group.samples[i];
      const std::vector<Verdict>& fresh = graded.samples[i].verdicts;
      ++samples_;
      if (fresh.empty()) {
        ++foreign_;
        continue;
      }
      bool changed = false;
      for (const Verdict& after : fresh) {
        const Verdict* before = find(sample.verdicts, after.name);
        if (after.reason == Reason::kCheckerError) {
          errors_ += after.name == fresh[0].name;
          continue;
        }
        if (before == nullptr) {
          ++transitions_[{after.name, "absent", to_string(after.reason)}];
          continue;
        }
        if (differs(*before, after)) {
          ++transitions_[{after.name, to_string(before->reason), to_string(after.reason)}];
          changed = true;
          note(step, group, sample, *before, after);
        }
      }
      changed_ += changed;
      count_accuracy(sample.verdicts, fresh);
      count_reward(sample, graded.samples[i]);
    }
  }

  Json summary(const std::string& run) const {
    Json transitions = Json::array();
    for (const auto& [key, count] : transitions_) {
      transitions.push_back({{"reward", std::get<0>(key)},
                             {"from", std::get<1>(key)},
                             {"to", std::get<2>(key)},
                             {"samples", count}});
    }
    const double graded = std::max<double>(1, static_cast<double>(graded_));
    const double rewarded = std::max<double>(1, static_cast<double>(rewarded_));
    return {{"run", run},
            {"task", task_.name()},
            {"samples", samples_},
            {"changed", changed_},
            {"wrong_to_right", gained_},
            {"right_to_wrong", lost_},
            {"accuracy_before", before_ / graded},
            {"accuracy_after", after_ / graded},
            {"reward_before", reward_before_ / rewarded},
            {"reward_after", reward_after_ / rewarded},
            {"errors", errors_},
            {"not_gradable", foreign_},
            {"transitions", transitions}};
  }

  const std::vector<Json>& shown() const { return shown_; }

 private:
  // The group graded anew; samples without verdicts when this task does not understand its problem.
  Group grade(const Group& group) const {
    std::vector<Group> groups = {group};
    try {
      grade_groups(task_, rubric_, groups);
    } catch (const std::exception&) {
      for (Sample& sample : groups[0].samples) sample.verdicts.clear();
    }
    return std::move(groups[0]);
  }

  // Over the samples that count in both.
  void count_reward(const Sample& before, const Sample& after) {
    if (before.masked || after.masked) return;
    ++rewarded_;
    reward_before_ += before.reward;
    reward_after_ += after.reward;
  }

  // Over the samples that both graded.
  void count_accuracy(const std::vector<Verdict>& before, const std::vector<Verdict>& after) {
    const Verdict* old = find(before, after[0].name);
    if (old == nullptr || !has_score(old->reason) || !has_score(after[0].reason)) return;
    ++graded_;
    before_ += old->score;
    after_ += after[0].score;
    gained_ += old->score < 1 && after[0].score >= 1;
    lost_ += old->score >= 1 && after[0].score < 1;
  }

  void note(int64_t step, const Group& group, const Sample& sample, const Verdict& before,
            const Verdict& after) {
    const auto side = [](const Verdict& v) {
      return Json{{"score", v.score}, {"reason", to_string(v.reason)}, {"extracted", v.extracted}};
    };
    const Json row = {
        {"step", step},         {"problem", group.problem.id}, {"sample", sample.key.sample},
        {"reward", after.name}, {"before", side(before)},      {"after", side(after)},
        {"text", sample.text}};
    if (options_.changes)
      std::printf("%s\n", dumped(row).c_str());
    else if (static_cast<int64_t>(shown_.size()) < options_.show)
      shown_.push_back(row);
  }

  const Task& task_;
  const Rubric& rubric_;
  const RescoreOptions& options_;
  int64_t samples_ = 0, changed_ = 0, gained_ = 0, lost_ = 0, errors_ = 0, foreign_ = 0;
  int64_t graded_ = 0, rewarded_ = 0;
  double before_ = 0, after_ = 0, reward_before_ = 0, reward_after_ = 0;
  std::map<std::tuple<std::string, std::string, std::string>, int64_t> transitions_;
  std::vector<Json> shown_;
};

std::unique_ptr<Task> task_to_grade_with(const RescoreOptions& options, const std::string& run,
                                         const Json& run_info) {
  if (!options.task.empty()) return make_task(options.task);
  const auto task = run_info.find("task");
  if (task == run_info.end() || !task->is_object() || !task->contains("name") ||
      !(*task)["name"].is_string()) {
    fail("the run does not say which task it trained on", "name it with --task NAME:key=value,..");
  }
  const auto name = (*task)["name"].get<std::string>();
  const Json task_options = task->value("options", Json::object());
  ask_for_plugins(run, name, task_options, options.start_plugins);
  return make_task(name, task_options);
}

// What rewards were in the run; the task's verdicts alone when it has no config.
Rubric rubric_of(const std::filesystem::path& run) {
  Rubric rubric;
  const std::filesystem::path path = run / "config.json";
  if (!std::filesystem::exists(path)) return rubric;
  const Json config = read_json_file(path);
  const auto section = [&](const char* name, auto& to) {
    if (const auto it = config.find(name); it != config.end()) {
      load_config(to, *it, path.string() + ", " + name);
    }
  };
  SamplingConfig sampling;
  section("overlong", rubric.overlong);
  section("shaping", rubric.shaping);
  section("sampling", sampling);
  rubric.max_tokens = sampling.max_tokens;
  return rubric;
}

void print_text(const Json& summary, const std::vector<Json>& shown) {
  for (const Json& row : shown) {
    const auto side = [&](const char* name) {
      const Json& v = row[name];
      return v["reason"].get<std::string>() + " " + dumped(v["score"]) + " " +
             dumped(v["extracted"]).substr(0, 60);
    };
    std::printf("step %s, problem %s, sample %s, %s: %s -> %s\n", dumped(row["step"]).c_str(),
                printable_line(row["problem"].get<std::string>(), 60).c_str(),
                dumped(row["sample"]).c_str(),
                printable_line(row["reward"].get<std::string>(), 40).c_str(),
                side("before").c_str(), side("after").c_str());
  }
  for (const Json& t : summary["transitions"]) {
    std::printf("%-12s %-14s -> %-14s %8s samples\n",
                printable_line(t["reward"].get<std::string>(), 40).c_str(),
                t["from"].get<std::string>().c_str(), t["to"].get<std::string>().c_str(),
                dumped(t["samples"]).c_str());
  }
  std::printf(
      "%s samples, %s changed (%s wrong -> right, %s right -> wrong), accuracy %.4f -> %.4f, "
      "reward %.4f -> %.4f, "
      "%s checker errors, %s not gradable\n",
      dumped(summary["samples"]).c_str(), dumped(summary["changed"]).c_str(),
      dumped(summary["wrong_to_right"]).c_str(), dumped(summary["right_to_wrong"]).c_str(),
      summary["accuracy_before"].get<double>(), summary["accuracy_after"].get<double>(),
      summary["reward_before"].get<double>(), summary["reward_after"].get<double>(),
      dumped(summary["errors"]).c_str(), dumped(summary["not_gradable"]).c_str());
}

}  // namespace

int run_rescore(const Args& args) {
  RescoreOptions options;
  if (asks_for_help(args))
    return print_usage(
        "zeroth rescore RUN [options]\n\nGrades the stored samples of a run again and shows "
        "what changes; the run stays as it is.",
        options);
  const Args rest = parse_flags(options, args, "rescore");
  if (rest.size() != 1)
    fail_usage("zeroth rescore: " + std::string(rest.empty() ? "no run" : "more than one run"),
               "give the folder of one run");
  TraceReader reader(std::filesystem::path(rest[0]) / "traces");
  reader.refresh();
  const std::unique_ptr<Task> task = task_to_grade_with(options, rest[0], reader.run_info());
  const Rubric rubric = rubric_of(rest[0]);
  Rescore rescore(*task, rubric, options);
  int64_t damaged = 0;
  for (const TraceEntry& entry : reader.groups()) {
    if (entry.step < options.from || entry.step > options.to) continue;
    try {
      rescore.add(entry.step, reader.read(entry));
    } catch (const Error& error) {
      if (damaged++ == 0) std::fprintf(stderr, "%s\n", printable(error.what()).c_str());
    }
  }
  if (damaged > 0)
    std::fprintf(stderr, "%lld damaged groups left out\n", static_cast<long long>(damaged));
  const Json summary = rescore.summary(rest[0]);
  if (options.json || options.changes)
    std::printf("%s\n", dumped(summary).c_str());
  else
    print_text(summary, rescore.shown());
  return 0;
}

}  // namespace zeroth
