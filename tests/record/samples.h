// Groups of samples made up from a counter RNG, for tests of the trace store and what stands on it.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>

#include "core/rng.h"
#include "core/temporary_folder.h"
#include "core/trajectory.h"
#include "record/trace_codec.h"

namespace zeroth {

inline Vocabulary letters_vocabulary() {
  Vocabulary vocabulary;
  for (int i = 0; i < 96; ++i) vocabulary.push_back(std::string(1, static_cast<char>(' ' + i)));
  for (const char* word : {" wait", " ok", " no", "<think>", "</think>", "\xf0\x9f", "\x98\x80"}) {
    vocabulary.push_back(word);
  }
  return vocabulary;
}

inline Sample random_sample(Rng& rng, const Vocabulary& vocabulary, int tokens) {
  Sample sample;
  for (int i = 0; i < tokens; ++i) {
    sample.tokens.push_back(
        static_cast<TokenId>(rng.below(static_cast<uint32_t>(vocabulary.size()))));
    sample.logprobs.push_back(static_cast<float>(std::log(rng.uniform() + 1e-9)));
    sample.entropies.push_back(static_cast<float>(2 * rng.uniform()));
    sample.text += vocabulary[static_cast<size_t>(sample.tokens.back())];
  }
  const bool right = rng.chance(0.4);
  sample.reward = right ? 1.1 : 0.1;
  Verdict accuracy{"accuracy", right ? 1.0 : 0.0,
                   1.0,        right ? Reason::kCorrect : Reason::kWrong,
                   "9+6",      Json({{"tries", static_cast<int>(rng.below(6))}})};
  sample.verdicts = {accuracy, {"format", 1.0, 0.1, Reason::kFormatOk, "", Json::object()}};
  sample.finish = rng.chance(0.1) ? FinishReason::kLength : FinishReason::kStop;
  return sample;
}

inline Group random_group(uint64_t seed, int64_t step, int64_t index, int samples, int tokens) {
  const Vocabulary vocabulary = letters_vocabulary();
  Rng rng(StreamKey{seed, static_cast<uint32_t>(step), static_cast<uint32_t>(index), 0});
  Group group;
  group.problem = {"countdown", "p" + std::to_string(index), "Make 24 from 9 6 3.", "9+6+3*3",
                   Json({{"nums", {9, 6, 3}}, {"target", 24}})};
  group.prompt_tokens = {1, 2, 3};
  for (int i = 0; i < samples; ++i) {
    Sample sample = random_sample(rng, vocabulary, 1 + static_cast<int>(rng.below(tokens)));
    sample.key = {seed, static_cast<uint32_t>(step), static_cast<uint32_t>(index),
                  static_cast<uint32_t>(i)};
    sample.versions = {{0, step}};
    sample.advantage = rng.normal();
    group.samples.push_back(std::move(sample));
  }
  return group;
}

}  // namespace zeroth
