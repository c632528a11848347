// Speculative drafts of one sampler: which tokens a step tries ahead of those that are drawn. The
// sampler draws for each of them as ever and keeps what the draws agree with, so drafts change how
// many forward calls the samples take, and nothing else.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "rollout/draft_index.h"
#include "rollout/engine_config.h"
#include "rollout/roofline.h"

namespace zeroth {

// Earlier samples by their prompt, within a bound of memory: the prompt that was met least recently
// is forgotten first, and of a prompt the oldest samples. Not thread safe.
class DraftHistory {
 public:
  // A prompt keeps this many tokens, or its newest sample.
  static constexpr int64_t kTokensOfPrompt = 16384;

  explicit DraftHistory(int64_t max_bytes) : max_bytes_(max_bytes) {}

  void add(std::span<const TokenId> prompt, std::span<const TokenId> tokens);
  // Oldest first; null: none. Valid until the next call.
  const std::deque<std::vector<TokenId>>* of(std::span<const TokenId> prompt);
  int64_t bytes() const { return bytes_; }

 private:
  struct Entry {
    uint64_t key;
    int64_t tokens = 0;
    std::deque<std::vector<TokenId>> samples;
  };
  void drop_oldest(Entry& entry);

  const int64_t max_bytes_;
  int64_t bytes_ = 0;
  std::list<Entry> entries_;                                            // least recently met first
  std::unordered_map<uint64_t, std::list<Entry>::iterator> by_prompt_;  // by its hash
};

// Requests and sequences are named by the caller's numbers, new ones after every begin(). The same
// calls give the same drafts. Not thread safe.
class Drafter {
 public:
  // `costs` says which rows pay. How fast this machine is does not matter, so that drafts are the
  // same on all.
  Drafter(const EngineConfig& config, const Roofline& costs);

  // A generate() begins: only the history is left of those before.
  void begin();
  // Whether a step with so many live sequences may have drafts: not for a few rows only, because
  // every sequence has to be looked at for them.
  bool wanted(int live) const { return !resting_ && longest_ > 0 && live > 0 && 2 * live <= rows_; }
  // No more drafts until the next begin().
  void rest() { resting_ = true; }

  // For a step: a live sequence that waits for nothing but its newest token, with at least one
  // token, and how many more may be tried ahead.
  struct Live {
    int request, sequence;
    std::span<const TokenId> prompt, tokens;
    int room;
  };
  struct Draft {
    int sequence;
    std::vector<TokenId> tokens;
  };
  // What the checkpoint's own layer (policy/draft_layer.h) takes for the next token of a sequence;
  // for the step that is considered next.
  void suggest(int sequence, TokenId token) { suggested_[sequence] = token; }
  // For each sequence that may have a draft, `running` being live in the step (and wanted).
  void consider(const Live& live, int running);
  // Then once: of what was considered the tokens that are likeliest to be kept, as many as there are
  // rows for and as pay.
  const std::vector<Draft>& choose(int running);

  // A sequence has ended. `last`: all of its request have.
  void end(const Live& live, bool last);

 private:
  struct Line {  // a sequence in the index of its request
    int text = -1;
    size_t known = 0;  // of its tokens, in the index
    std::vector<DraftGuess> guesses;
    int rests = 0;  // steps in which it is not looked at
  };
  DraftIndex& index_of(const Live& live);
  Line& catch_up(const Live& live, DraftIndex& index);

  const int longest_, rows_;
  bool resting_ = false;
  std::vector<double> least_odds_;  // that a row pays, by the live sequences of a step
  DraftHistory history_;
  DraftOdds odds_;
  std::unordered_map<int, std::unique_ptr<DraftIndex>> indices_;  // by request
  std::unordered_map<int, Line> lines_;                           // by sequence
  std::unordered_map<int, TokenId> suggested_;                    // the same
  struct Token {                                                  // one that may be tried
    double odds;                                                  // that it is kept
    size_t draft;
    TokenId token;
  };
  std::vector<Token> tokens_;
  std::vector<int> considered_;  // sequences, in the order of drafts
  std::vector<Draft> drafts_;
};

}  // namespace zeroth
