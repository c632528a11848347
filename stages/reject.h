// Rejection sampling: the completions of a policy that are worth learning from, as rows of
// `zeroth sft`, and pairs of a better and a worse one, as rows of `zeroth dpo`.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/trajectory.h"

namespace zeroth {

struct RejectConfig {
  double min_score = 1;
  int64_t per_problem = 4;
  std::string order = "shortest";
  int64_t min_length = 0;
  int64_t max_length = 0;
  double language_share = 0;
  std::vector<std::string> scripts = {"latin"};
  double max_repetition = 1;
  std::string pairs = "none";
  double longer = 1.5;

  template <class V>
  void fields(V& v) {
    v("min_score", min_score, "smallest accuracy of a right completion", Range{-1e9, 1e9});
    v("per_problem", per_problem, "rows of a problem at most; 0 = all", Range{0, 1e9});
    v("order", order, "which ones: the shortest right ones (Kimi k1.5), or the first that came",
      Choice{{"shortest", "first"}});
    v("min_length", min_length, "shorter completions (tokens) are left out", Range{0, 1e9});
    v("max_length", max_length, "longer completions are left out; 0 = none", Range{0, 1e9});
    v("language_share", language_share,
      "completions with a smaller share of words in `scripts` are left out (DeepSeek-R1)",
      Range{0, 1});
    v("scripts", scripts,
      "scripts of the wanted language; problem = that of most words of the prompt");
    v("max_repetition", max_repetition,
      "completions with a larger share of repeated 4-grams of tokens are left out", Range{0, 1});
    v("pairs", pairs,
      "none = rows {prompt, completion}; wrong = pairs of a right and a wrong completion; longer = "
      "of the shortest right one and a wrong one, or a right one of at least `longer` times its "
      "tokens (Kimi k1.5, section 2.4)",
      Choice{{"none", "wrong", "longer"}});
    v("longer", longer, "how much longer a right completion has to be to be rejected",
      Range{1, 1e6});
  }
};

// Collects completions of any number of groups, whatever their order; of groups of one problem and
// task together. Completions that were cut off, masked or could not be graded, and texts that a
// problem has already, are left out. Not thread safe.
class Rejection {
 public:
  // Throws a usage Error for an unknown script.
  explicit Rejection(const RejectConfig& config);
  void add(const Group& group);

  // {"prompt", "completion"} or {"prompt", "chosen", "rejected"}, with "task", "problem" and the
  // numbers of tokens; problems in the order in which they first came.
  std::vector<Json> rows() const;
  // {"samples", "right", "wrong", "cut_off", "ungraded", "filtered", "repeated", "problems",
  // "problems_without_right", "rows"}.
  Json summary() const;

 private:
  struct Candidate {
    std::string text;
    int64_t tokens = 0;
  };
  struct Found {
    std::string task, problem, prompt;
    std::vector<Candidate> right, wrong;  // in the order in which they came
  };
  bool passes(const Problem& problem, const Sample& sample) const;
  std::vector<Candidate> chosen(const Found& found) const;
  void add_pairs(const Found& found, std::vector<Json>& rows) const;

  RejectConfig config_;
  std::vector<Found> problems_;
  std::map<std::pair<std::string, std::string>, size_t> index_;  // task and id -> problems_
  int64_t samples_ = 0, right_ = 0, wrong_ = 0, cut_off_ = 0, ungraded_ = 0, filtered_ = 0,
          repeated_ = 0;
};

}  // namespace zeroth
