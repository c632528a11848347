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

// What the policy drew, and what the task's environment put behind it (tasks/environment.h).
struct Turn {
  int32_t end = 0;          // behind the last token that the policy drew
  int32_t next = 0;         // where it goes on: tokens [end, next) are the environment's
  int64_t text_end = 0;     // behind its bytes of Sample::text
  double reward = 0;        // that the environment paid for it
  std::string observation;  // its words, without what a chat template puts around them
  bool operator==(const Turn&) const = default;
};

// One completion with everything that was known when it was sampled. Tokens of an environment stand
// between those of the policy; their log-probs, entropies and router confidences are 0, their kept
// sets empty, and no loss, length or mean counts them.
struct Sample {
  // Names its random draws; the sample can be regenerated from it. Turn k draws as a sample of number
  // key.sample + k * kTurnStride.
  StreamKey key;
  std::vector<TokenId> tokens;  // sampled ids, end-of-text included when it was sampled
  // [tokens] behaviour log-prob at the sampling temperature, natural log
  std::vector<float> logprobs;
  std::vector<float> entropies;  // [tokens] entropy of the sampling distribution in nats
  // Flattened kept sets of truncated sampling (top-k, top-p, min-p), [tokens + 1]; else empty.
  std::vector<int32_t> kept_ids, kept_offsets;
  // Routing of the row that each token was drawn from, when requested; else empty.
  std::vector<uint8_t> experts;  // [tokens, moe layers, top-k] chosen expert ids, surest first
  // [prompt - 1, moe layers, top-k] of the prompt's rows but the last, by the first token's weights.
  std::vector<uint8_t> prompt_experts;
  // [tokens, moe layers] the router's score of the first of them (softmax or sigmoid), in 1/255.
  std::vector<uint8_t> router_confidence;
  // Which weights drew which tokens, ascending by first; one segment unless weights were switched
  // while it was sampled. A sample that was sampled has at least one.
  std::vector<VersionSegment> versions;
  std::vector<Turn> turns;  // in order, the last one with next = end; empty without an environment
  FinishReason finish = FinishReason::kStop;
  // Decoded tokens of the policy, end-of-text left out, and the stop string that ended the last turn.
  std::string text;

  std::vector<Verdict> verdicts;  // by grading
  double reward = 0;              // sum of score * weight
  bool masked = false;   // checker error, aborted, or truncated with overlong masking: no loss
  double advantage = 0;  // by assign_advantages
};

inline constexpr uint32_t kTurnStride = 1 << 24;  // samples of a group have lower numbers
inline constexpr int kMostTurns = 255;            // of a sample

// How many tokens the policy drew.
inline int64_t drawn_tokens(const Sample& sample) {
  auto tokens = static_cast<int64_t>(sample.tokens.size());
  for (const Turn& turn : sample.turns) tokens -= turn.next - turn.end;
  return tokens;
}
// [tokens] 1: drawn by the policy, 0: the environment's; empty when all are the policy's.
std::vector<uint8_t> drawn_mask(const Sample& sample);
std::vector<TokenId> drawn_ids(const Sample& sample);  // the policy's tokens alone

// Of the weights that drew the first token; 0: never sampled.
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
