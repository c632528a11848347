// Looks at a task's prompts before the first step: rows that cannot be sampled from, and rows that
// look like mistakes, by file and line.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/config.h"
#include "tasks/task.h"
#include "text/prompt.h"

namespace zeroth {

struct DataConfig {
  std::string on_bad_row = "skip";
  std::string on_suspect_row = "say";
  template <class V>
  void fields(V& v) {
    v("on_bad_row", on_bad_row,
      "a prompt that is empty or fills the policy's context: skip leaves it out and counts it, "
      "refuse ends the run before its first step",
      Choice{{"skip", "refuse"}});
    v("on_suspect_row", on_suspect_row,
      "a prompt that occurs in an earlier row, or that holds its own answer: say names it, skip "
      "leaves it out too, refuse ends the run before its first step",
      Choice{{"say", "skip", "refuse"}});
  }
};

class PromptScreen {
 public:
  // Measures the prompts of both splits, or of `only`: all of a task that reads files, some of a
  // task that makes its problems. `context` is the policy's, in tokens. Throws Error naming the
  // rows when the config refuses one, or when no training prompt is left.
  PromptScreen(const Task& task, const PromptEncoder& prompts, int64_t context, int64_t max_tokens,
               const DataConfig& config, std::optional<Split> only = std::nullopt);

  // Whether a problem of the task is left out, with its prompt in tokens. Problems that were not
  // measured are judged by their prompt.
  bool skips(const Problem& problem, const std::vector<TokenId>& prompt) const;
  int64_t context() const { return context_; }  // of the policy, in tokens
  // Findings for the start of a run, a line each; empty when there is nothing to say.
  const std::vector<std::string>& lines() const { return lines_; }
  int64_t bad() const { return bad_; }          // rows that cannot be sampled from
  int64_t suspect() const { return suspect_; }  // rows that look like mistakes

 private:
  struct Found;
  Found measure(const Task& task, const PromptEncoder& prompts, Split split) const;

  int64_t context_, max_tokens_;
  std::unordered_set<std::string> left_out_;  // ids of measured problems
  std::vector<std::string> lines_;
  int64_t bad_ = 0, suspect_ = 0;
};

}  // namespace zeroth
