// What may follow in a text, by what has followed the same tokens in others: guesses for speculative
// sampling, which checks every one of them.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

inline constexpr int kDraftKinds = 25;          // of guesses by what followed the same tokens
inline constexpr int kLayerKind = kDraftKinds;  // the checkpoint's own layer guesses

// One guessed token. `kind` says what the guess rests on: how many tokens before it agree, and how
// far those that agree agree on it.
struct DraftGuess {
  TokenId token = 0;
  int kind = 0;  // 0 .. kDraftKinds - 1, or kLayerKind
};

// How often guesses of each kind were right, of late.
class DraftOdds {
 public:
  // In (0, 1).
  double odds(int kind) const { return (right_[kind] + 1.0) / (tries_[kind] + 2.0); }
  void score(int kind, bool right);

 private:
  std::array<int32_t, kDraftKinds + 1> right_ = {}, tries_ = {};
};

// The texts of one prompt: it and what was sampled behind it, also what still grows. A place in a
// text is found by the tokens before it, most recent places first (hash chains, as LZ77 encoders
// keep them). The same calls give the same guesses. Not thread safe.
class DraftIndex {
 public:
  // Tokens before a place by which it is found; longer ones first, and shorter ones only when those
  // find none.
  static constexpr std::array<int, 2> kFoundBy = {8, 3};

  // Every text that is added later continues the end of it.
  explicit DraftIndex(std::span<const TokenId> prompt);

  // A text behind the prompt; returns its number.
  int add(std::span<const TokenId> tokens);
  void append(int text, std::span<const TokenId> tokens);

  // At most `most` tokens that may follow at the end of a text, while the odds that all of them do
  // are at least `least_odds`, and one that is less likely; replaces `out`.
  void guess(int text, int most, const DraftOdds& odds, double least_odds,
             std::vector<DraftGuess>& out) const;

  // Tokens in all texts, the prompt among them.
  int64_t tokens() const { return tokens_; }

 private:
  struct Place {  // of a token
    int32_t text = -1, at = 0;
  };
  struct Text {
    std::vector<TokenId> tokens;
    size_t context = 0;  // of them, what is a copy of the prompt's end: no places
    std::array<std::vector<Place>, kFoundBy.size()> before;  // of each token: the place before it
  };
  struct Candidate {
    const Text* text;
    size_t at;
    int agree;  // tokens before it
  };

  int agreement(const Text& a, size_t a_end, const Text& b, size_t b_end) const;
  void find(const Text& text, std::vector<Candidate>& out) const;

  std::vector<Text> texts_;                                                // the prompt first
  std::array<std::unordered_map<uint64_t, Place>, kFoundBy.size()> last_;  // by hash
  int64_t tokens_ = 0;
  mutable std::vector<Candidate> candidates_;
};

}  // namespace zeroth
