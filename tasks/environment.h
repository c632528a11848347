// What answers the policy between the turns of a sample.
//
// An episode begins with the problem's prompt, which is its first observation and the same for all
// samples of a group. The policy replies; a step takes the reply and gives an observation, a reward,
// and whether the episode is over; the policy goes on behind the observation. Observations are
// tokenised once and stay the ids that they are; they have no loss (core/trajectory.h).
//
// A step is a function of the problem and all that was said since, which its request holds. So
// nothing is kept between steps, a worker that died costs no episode, and the bytes of a run do not
// depend on who answers. Steps run where the trainer runs, never on a fleet's workers: those run
// the policy alone, and every turn of theirs can be audited.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// The views must stay alive during the call.
struct StepRequest {
  const Problem* problem = nullptr;
  std::span<const Turn> before;  // earlier turns; their bytes of `text` end at Turn::text_end
  std::string_view text;         // of the policy, all turns up to this one
  std::string_view reply;  // the end of text: this turn, the stop string that ended it included
  FinishReason finish = FinishReason::kStop;
};
// What the policy wrote in an earlier turn.
inline std::string_view reply_of(std::string_view text, std::span<const Turn> turns, size_t i) {
  const int64_t begin = i == 0 ? 0 : turns[i - 1].text_end;
  return text.substr(static_cast<size_t>(begin), static_cast<size_t>(turns[i].text_end - begin));
}

struct StepResult {
  std::string observation;
  bool done = false;  // the episode is over; the observation is not shown
  double reward = 0;  // finite
  Json info;          // facts; numbers are added up over the turns of a sample
  // What a chat template puts in front of the observation and behind it; special tokens count in
  // these texts, and never in the observation.
  std::string lead, tail;
  std::string fault, detail;  // not empty: the environment failed; the sample ends, masked
};

// Const methods are thread safe.
class Environment {
 public:
  virtual ~Environment() = default;
  // Most turns of an episode, 1 to kMostTurns.
  virtual int max_turns(const Problem& problem) const = 0;
  // Longest observation in tokens; the end of a longer one is cut off.
  virtual int max_observation_tokens(const Problem& problem) const = 0;
  // The turns' rewards count for so much in the sample's (the verdict "turns").
  virtual double turn_weight(const Problem& problem) const = 0;
  // Strings that end a turn, but for the last one, besides the task's and end-of-text.
  virtual std::vector<std::string> turn_stops(const Problem&) const { return {}; }
  // One result each, in order; never throws on what the policy wrote, and is bounded in time.
  virtual std::vector<StepResult> step(std::span<const StepRequest> requests) const = 0;
};

// What every environment lets be set.
struct EnvironmentLimits {
  int max_turns = 8;
  int max_observation_tokens = 256;
  double turn_weight = 1;
  template <class V>
  void fields(V& v) {
    v("max_turns", max_turns, "most turns of a sample, where the task has an environment",
      Range{1, kMostTurns});
    v("max_observation_tokens", max_observation_tokens,
      "longest answer of an environment or a tool in tokens; the rest is cut off",
      Range{1, 1 << 20});
    v("turn_weight", turn_weight, "weight of the rewards that an environment gives for turns",
      Range{-1000, 1000});
  }
};

}  // namespace zeroth
