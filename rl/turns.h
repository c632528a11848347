// Samples of several turns: the policy's replies from a sampler, the answers between them from the
// task's environment.
//
// Every turn is a request of its own, whose prompt is all that stands before it: the ids as they
// were drawn and put in, never text that is tokenised again. So a turn is what every sample is, a
// function of (weights, tokens before it, key), whoever draws it: this process, ranks, a fleet with
// its audits. The last turn's activations are those of the whole sample.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "ranks/team.h"
#include "rl/background.h"
#include "rollout/sampler.h"
#include "tasks/environment.h"
#include "tasks/task.h"
#include "text/tokenizer.h"

namespace zeroth {

// Who answers, and what for. All of them must outlive the calls.
struct TurnSetup {
  const Task* task = nullptr;
  const Tokenizer* tokenizer = nullptr;
  int64_t context = std::numeric_limits<int64_t>::max();  // of the policy, in tokens
  // A step that a stop cuts short is left to it; null: it is waited for.
  Background* background = nullptr;
  // Ranks that sample together: each asks for its share of the steps. Null: this process is alone.
  Team* team = nullptr;
};

// As Sampler::generate() for the groups' problems, requests[i] being that of groups[i]; of options
// `cancel`, `done` and `tickets`. For a task without an environment it is that call.
//
// sampling.max_tokens bounds what the policy draws in all turns of a sample together. A sample ends
// with kStop when the environment says so, with kLength when tokens, context or turns have run out.
// Every sample gets Sample::turns and one verdict "turns", which grading keeps: the sum of the
// rewards with the weight of the environment, as facts the number of turns and the environment's
// own, or Reason::kCheckerError with the facts "fault" (environment_timeout, ..) and "detail" where
// the environment failed. Throws Interrupted when `cancel` becomes true during a step.
std::vector<std::vector<Sample>> generate_turns(Sampler& sampler, const TurnSetup& setup,
                                                std::span<const Group> groups,
                                                const std::vector<GenerationRequest>& requests,
                                                const GenerateOptions& options);

// The verdict that generate_turns() has left in a sample, also behind grading; null: none.
const Verdict* turns_verdict(const Sample& sample);

}  // namespace zeroth
