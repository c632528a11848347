// Rewards that look at the shape of a response or of its group, not at its answer: language,
// repetition, length. Each is a pure function; shape_group applies the chosen ones to the graded
// samples of one problem (rewards/rubric.h).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "core/trajectory.h"

namespace zeroth {

// Share of the words that are written in one of `scripts`: the language consistency reward of
// DeepSeek-R1 (Nature 2025, section "Training details of DeepSeek-R1": Num(Words_target) /
// Num(Words)), with the script standing for the language. A word is a run of letters of one script;
// each Han character is a word. Digits, signs and tags are none. 1 without any word. Scripts:
// latin, greek, cyrillic, han, kana, hangul, arabic, hebrew, devanagari, thai. Invalid UTF-8 is
// skipped.
double language_consistency(std::string_view text, std::span<const std::string> scripts);
const std::vector<std::string>& known_scripts();
// Throws a usage Error naming `field` for a script that is neither known nor "problem".
void check_scripts(std::span<const std::string> scripts, const char* field);

// The script that most words of a text are in, of several the first one met; empty without a word.
std::string main_script(std::string_view text);

// language_consistency of a text that answers `prompt`. Where `scripts` names "problem", that is the
// prompt's main_script; after a prompt without words it is 1.
double language_share(std::string_view text, std::string_view prompt,
                      std::span<const std::string> scripts);

// What a sample has thought, which the language reward looks at: its text up to the last </think>.
std::string_view thought_of(const Sample& sample);

// Share of the n-grams of `tokens` that occurred before in it, in [0, 1): 1 - distinct / all. 0 for
// fewer than n tokens. The repetition penalty of Yeo et al. 2025 (arXiv 2502.03373, section 4.3) is
// minus this.
double repeated_ngrams(std::span<const TokenId> tokens, int n);

// Cosine length-scaling of Yeo et al. 2025, equation 1: from `at_zero` at length 0 to `at_limit` at
// length `limit`, at_limit + (at_zero - at_limit) (1 + cos(pi length / limit)) / 2. length
// 0..limit.
double cosine_length(int64_t length, int64_t limit, double at_zero, double at_limit);

// Length reward of Kimi k1.5 (arXiv 2501.12599, section 2.3.3) for all samples of one problem:
// lambda_i = 0.5 - (len_i - min) / (max - min); right samples get lambda, wrong ones min(0,
// lambda); all 0 when max == min. In [-0.5, 0.5]. The vectors have the same length.
std::vector<double> kimi_length(std::span<const int64_t> lengths, std::span<const bool> right);

// Ranks of scores within a group, in [0, 1]: the share of the others that are lower, those that are
// equal counting half. 0.5 for a score alone. A judge's scores mean little but their order, which
// ranks keep: they do not depend on how strict it is.
std::vector<double> group_ranks(std::span<const double> scores);

struct ShapingConfig {
  double language_weight = 0;
  std::vector<std::string> scripts = {"latin"};
  double repetition_weight = 0;
  int repetition_ngram = 40;
  double kimi_length_weight = 0;
  double cosine_weight = 0;
  double cosine_right_short = 2, cosine_right_long = 1;
  double cosine_wrong_short = -10, cosine_wrong_long = 0;
  double cosine_truncated = -10;
  double process_weight = 0;
  int process_min_steps = 1;
  std::vector<std::string> ranked;

  template <class V>
  void fields(V& v) {
    const Range weight{-1000, 1000};
    v("language_weight", language_weight, "share of words in the target scripts; 0 = off", weight);
    v("scripts", scripts,
      "target scripts: latin, greek, cyrillic, han, kana, hangul, arabic, hebrew, devanagari, "
      "thai; problem = that of most words of the prompt. The measure \"language\" of evaluations "
      "goes by them too");
    v("repetition_weight", repetition_weight, "minus the share of repeated n-grams; 0 = off",
      weight);
    v("repetition_ngram", repetition_ngram, "tokens of an n-gram", Range{1, 1000});
    v("kimi_length_weight", kimi_length_weight,
      "length compared within the group, -0.5..0.5; 0 = off", weight);
    v("cosine_weight", cosine_weight,
      "cosine length scaling; 0 = off (set the task's accuracy_weight to 0 with it)", weight);
    v("cosine_right_short", cosine_right_short, "score of a right response of length 0", weight);
    v("cosine_right_long", cosine_right_long, "score of a right response at the length limit",
      weight);
    v("cosine_wrong_short", cosine_wrong_short, "score of a wrong response of length 0", weight);
    v("cosine_wrong_long", cosine_wrong_long, "score of a wrong response at the length limit",
      weight);
    v("cosine_truncated", cosine_truncated, "score of a response that the limit cut", weight);
    v("process_weight", process_weight,
      "share of the equations in the thinking that hold (rewards/process.h); 0 = off", weight);
    v("process_min_steps", process_min_steps, "equations that a full process score takes at least",
      Range{1, 10000});
    v("ranked", ranked,
      "rewards by name whose scores become their ranks within the group, from 0 to 1: for a judge, "
      "whose scores mean little but their order");
  }

  bool any() const;
  void check() const;  // check_scripts
};

// The verdict named "accuracy", else the first; nullptr without any.
const Verdict* accuracy_verdict(const Sample& sample);

// Replaces the score of every verdict with a name of config.ranked by its rank among those of the
// group's samples that are not masked and have one; info gets NAME_score, what it was.
void rank_group(const ShapingConfig& config, Group& group);

// Appends the verdicts "language", "repetition", "kimi_length", "cosine" and "process", those with
// a weight, to every sample of the group. A task's own "process" verdict of weight 0 gets the
// weight instead; one with a weight stays. Samples that are masked take no part in the group's
// lengths and get none. Call once, after grading. `max_tokens` is the length limit.
void shape_group(const ShapingConfig& config, int max_tokens, Group& group);

}  // namespace zeroth
