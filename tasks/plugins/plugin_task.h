// A task that lives outside the binary: a command, a shared library or an HTTP server grades, and
// may make the problems too. One contract, described in docs/tasks.md.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tasks/options.h"
#include "tasks/plugins/plugin_pool.h"
#include "tasks/task.h"

namespace zeroth {

// What all carriers share.
struct PluginOptions : ResponseOptions, PluginPoolOptions {
  Json options = Json::object();
  Json problems = Json();
  Json part_weights = Json::object();
  bool whole_groups = false;
  PluginOptions() {
    prompt_template = "bare";
    format_weight = 0;
  }
  template <class V>
  void fields(V& v) {
    v("options", options, "what the plug-in is given when it starts");
    v("problems", problems,
      "task that makes the problems, NAME:key=value,.. or {\"name\", \"options\"}; empty: the "
      "plug-in makes them");
    v("part_weights", part_weights,
      "weights of the further scores that the plug-in gives, by name; 0 without");
    v("whole_groups", whole_groups,
      "send the samples of a problem together, never cut over requests, for rewards that compare "
      "them; also when the plug-in's hello says \"groups\": true");
    PluginPoolOptions::fields(v);
    ResponseOptions::fields(v);
  }
};

struct ProcessOptions : PluginOptions {
  Json command = Json::array();
  template <class V>
  void fields(V& v) {
    v("command", command, "words of the command, or one text that is taken apart at blanks");
    PluginOptions::fields(v);
  }
};

struct SoOptions : PluginOptions {
  std::string path;
  std::string host;
  template <class V>
  void fields(V& v) {
    v("path", path, "shared library that exports zeroth_plugin_v1 (tasks/plugins/plugin_abi.h)");
    v("host", host, "zeroth binary that loads it; empty: this one");
    PluginOptions::fields(v);
  }
};

struct HttpOptions : PluginOptions {
  std::string url;
  std::string shape = "zeroth";
  HttpOptions() { workers = 4; }
  template <class V>
  void fields(V& v) {
    v("url", url, "http://HOST:PORT/PATH that requests are POSTed to");
    v("shape", shape, "shape of the requests; openrlhf and nemo_gym only grade",
      Choice{{"zeroth", "openrlhf", "nemo_gym"}});
    PluginOptions::fields(v);
  }
};

// Verdicts: "accuracy", then one for each of the plug-in's "parts", then "format" when it has a
// weight. A result of null makes accuracy Reason::kNotApplicable; a reason in the plug-in's own
// words is kept as the fact "said". A fault of the plug-in makes accuracy Reason::kCheckerError
// with the facts "fault" (see PluginFaultKind) and "detail". Problems of the plug-in are kept once
// asked for.
class PluginTask : public BatchTask {
 public:
  // Starts a worker and greets it; throws Error when that fails.
  PluginTask(std::string name, PluginOptions options,
             std::function<std::unique_ptr<PluginChannel>(int)> make);
  ~PluginTask() override;
  std::string name() const override { return name_; }
  int64_t size(Split split) const override;
  // Throws Error when the plug-in does not give it.
  Problem problem(Split split, int64_t index) const override;
  ProblemOrigin origin(Split split, int64_t index) const override;
  bool reads_rows() const override { return base_ != nullptr && base_->reads_rows(); }
  std::string part(const Problem& problem) const override {
    return base_ ? base_->part(problem) : std::string();
  }
  bool is_chat(const Problem& problem) const override {
    return base_ ? base_->is_chat(problem) : options_.is_chat();
  }
  std::vector<std::vector<Verdict>> grade_batch(
      std::span<const GradeRequest> requests) const override;
  // The reference answer in an answer block, or the problem's meta.gold.
  std::string gold_completion(const Problem& problem) const override;
  int levels() const override;
  std::vector<std::string> stop_strings() const override;
  std::string cluster(const Problem& problem) const override;
  bool grades_here() const override { return false; }
  std::vector<std::string> notes() const override {
    return base_ ? base_->notes() : std::vector<std::string>();
  }

 private:
  FormatRules rules_for(const Problem& problem) const;
  Problem read_problem(Split split, int64_t index, const Json& row) const;
  std::vector<Verdict> verdicts_of(const GradeRequest& request, const PluginOutcome& outcome) const;
  void read_result(const Json& result, std::vector<Verdict>& verdicts) const;
  void read_parts(const Json& parts, std::vector<Verdict>& verdicts) const;

  std::string name_;
  PluginOptions options_;
  std::unique_ptr<Task> base_;  // makes the problems; null: the plug-in does
  std::unique_ptr<PluginPool> pool_;
  int64_t sizes_[2] = {0, 0};
  int levels_ = 1;
  bool whole_groups_ = false;
  std::vector<std::string> stop_strings_;
  mutable std::mutex mutex_;
  mutable std::map<std::pair<int, int64_t>, Problem> known_;  // guarded by mutex_
};

std::unique_ptr<Task> make_process_task(ProcessOptions options);
std::unique_ptr<Task> make_so_task(SoOptions options);
std::unique_ptr<Task> make_http_task(HttpOptions options);

}  // namespace zeroth
