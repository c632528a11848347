// The nouns of the data flow: Problem -> Prompt -> Group of Samples -> Verdicts -> Advantage.
// Plain data, no behaviour; every layer may use them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/rng.h"

namespace zeroth {

using TokenId = int32_t;

// Counts optimizer updates since the base checkpoint; 0 is the base itself. Every sampled token
// carries the version of the weights that produced it.
using WeightsVersion = int64_t;

// One task instance. `id` is stable across runs of the same task; `meta` is the task's own data for
// grading.
struct Problem {
  std::string task;    // name of the task that made it
  std::string id;      // unique within the task
  std::string prompt;  // text as the policy sees it, template already applied
  std::string answer;  // reference answer in the task's own form; never shown to the policy
  Json meta;           // task data for grading (numbers, target, tests)
};

enum class FinishReason { kStop, kLength, kAborted };
const char* to_string(FinishReason reason);  // "stop", "length", "aborted"

// Why a reward has its value. kNone only before grading.
// A broken checker is kCheckerError: it is counted, masked from the loss, and never a zero; so is a
// reference answer that cannot be read, kBadGold. A reward that says nothing about a sample is
// kNotApplicable: it counts neither for nor against it.
enum class Reason {
  kNone,
  kCorrect,
  kWrong,
  kNoAnswer,
  kParseError,
  kIllegal,
  kFormatOk,
  kFormatBad,
  kTruncated,
  kTimeout,
  kSandboxKilled,
  kRuntimeError,
  kOverBudget,
  kBadGold,
  kCheckerError,
  kShaped,
  kNotApplicable
};
const char* to_string(Reason reason);  // "correct", "wrong", "no_answer", ...

// Whether a verdict of this reason is a score; false for a checker that failed or had nothing to say.
constexpr bool has_score(Reason reason) {
  return reason != Reason::kCheckerError && reason != Reason::kBadGold &&
         reason != Reason::kNotApplicable;
}

// One part of a reward.
struct Verdict {
  std::string name;   // reward function, for example "accuracy" or "format"
  double score = 0;   // usually [0, 1]
  double weight = 1;  // contribution to Sample::reward is score * weight
  Reason reason = Reason::kNone;
  std::string extracted;  // the answer that was graded, at most 4 KiB
  Json info;  // facts of the checker (tries, illegal tries, ...); numbers are averaged into metrics
};

// Tokens from `first` on, up to the next segment, were drawn by weights of this version.
struct VersionSegment {
  int32_t first = 0;
  WeightsVersion version = 0;
  bool operator==(const VersionSegment&) const = default;
};

// One completion with everything that was known when it was sampled.
struct Sample {
  StreamKey key;                // names its random draws; the sample can be regenerated from it
  std::vector<TokenId> tokens;  // sampled ids, end-of-text included when it was sampled
  std::vector<float>
      logprobs;  // [tokens] behaviour log-prob at the sampling temperature, natural log
  std::vector<float> entropies;  // [tokens] entropy of the sampling distribution in nats
  std::vector<int32_t>
      kept_ids;  // flattened kept sets of truncated sampling (top-k, top-p, min-p); else empty
  std::vector<int32_t> kept_offsets;  // [tokens + 1] when kept_ids is used; else empty
  // Routing of the row that each token was drawn from, when requested; else empty.
  std::vector<uint8_t> experts;  // [tokens, moe layers, top-k] chosen expert ids, surest first
  std::vector<uint8_t> prompt_experts;  // [prompt - 1, moe layers, top-k] of the prompt's rows but
                                        // the last, by the weights that drew the first token
  std::vector<uint8_t> router_confidence;  // [tokens, moe layers] the router's score of the first
                                           // of them (softmax probability or sigmoid), in 1/255
  // Which weights drew which tokens, ascending by first; one segment unless weights were switched
  // while it was sampled. A sample that was sampled has at least one.
  std::vector<VersionSegment> versions;
  FinishReason finish = FinishReason::kStop;
  std::string text;  // decoded tokens, stop string and end-of-text left out

  std::vector<Verdict> verdicts;  // by grading
  double reward = 0;              // sum of score * weight
  bool masked = false;   // checker error, aborted, or truncated with overlong masking: no loss
  double advantage = 0;  // by assign_advantages
};

// Of the weights that drew the first token; 0 for a sample that was never sampled.
inline WeightsVersion first_version(const Sample& sample) {
  return sample.versions.empty() ? 0 : sample.versions.front().version;
}

// All samples of one problem at one step.
struct Group {
  Problem problem;
  std::vector<TokenId> prompt_tokens;
  std::vector<Sample> samples;
  bool zero_variance = false;  // all unmasked rewards equal: every advantage is exactly 0
};

}  // namespace zeroth
