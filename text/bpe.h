// Byte pair encoding of one word: a vocabulary and ranked merges (Sennrich et al., "Neural machine
// translation of rare words with subword units", 2016, algorithm 1), with the options that
// tokenizer.json files use.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

// Spellings <-> ids. Ids may have gaps.
class Vocabulary {
 public:
  static constexpr TokenId kMaxId = (1 << 22) - 1;

  // Throws Error naming `where` on an id out of 0..kMaxId, or an id or a spelling seen before.
  void add(std::string spelling, int64_t id, const std::string& where);
  // -1 when absent.
  TokenId find(std::string_view spelling) const;
  bool contains(TokenId id) const;
  const std::string& spelling(TokenId id) const;                           // empty when absent
  TokenId end() const { return static_cast<TokenId>(spellings_.size()); }  // largest id + 1
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };
  std::vector<std::string> spellings_;  // by id
  std::vector<bool> used_;
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
};

struct BpeOptions {
  std::string unk_token;                  // empty: characters without a token are dropped
  std::string continuing_subword_prefix;  // of every character but a word's first
  std::string end_of_word_suffix;
  bool fuse_unk = false;       // neighbouring unknown characters are one unknown token
  bool byte_fallback = false;  // a character without a token becomes its bytes' <0xNN> tokens
  bool ignore_merges = false;  // a word that is a token is that token, whatever the merges say
};

// Immutable; thread safe.
class Bpe {
 public:
  using Merges = std::vector<std::pair<std::string, std::string>>;

  // `merges` by rank, best first; of a pair listed twice the last rank counts. Throws Error naming
  // `where` when a merge names a spelling that the vocabulary lacks.
  Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options, const std::string& where);

  // Appends the ids of one word. O(n log n) in its length. Bytes that are not UTF-8 count as one
  // character each.
  void encode(std::string_view word, std::vector<TokenId>& ids) const;

  const Vocabulary& vocabulary() const { return vocabulary_; }
  const BpeOptions& options() const { return options_; }

 private:
  struct Merge {
    uint64_t pair;  // left id << 32 | right id; kNoPair marks an empty slot
    int32_t rank;
    TokenId result;
  };
  static constexpr uint64_t kNoPair = ~uint64_t{0};

  const Merge* find_merge(TokenId left, TokenId right) const;
  void insert_merge(const Merge& merge);
  void start_symbols(std::string_view word, std::vector<TokenId>& ids) const;
  void merge_symbols(std::vector<TokenId>& ids) const;

  Vocabulary vocabulary_;
  BpeOptions options_;
  std::vector<Merge> table_;         // open addressing, a power of two
  std::vector<TokenId> characters_;  // id of every character below U+0200 (-1: none)
  TokenId byte_ids_[256];            // <0xNN>, -1: none
  TokenId unk_ = -1;
};

}  // namespace zeroth
