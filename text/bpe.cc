#include "text/bpe.h"

#include <algorithm>
#include <cstdio>
#include <queue>

#include "core/error.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

constexpr CodePoint kDirectCharacters = 0x200;  // covers the byte-level alphabet (up to U+0143)

uint64_t pair_key(TokenId left, TokenId right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

size_t pair_hash(uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;  // 2^64 / golden ratio (Knuth, vol. 3, section 6.4)
  return static_cast<size_t>(key ^ key >> 32);
}

// A doubly linked list over the symbols of a word; a merge keeps the left node.
struct Node {
  TokenId id;
  int32_t previous;
  int32_t next;
  bool alive;
};

struct Candidate {
  int32_t rank;
  int32_t at;  // node of the left symbol
  TokenId result;
  // The lowest rank first, then the leftmost.
  bool operator<(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};

}  // namespace

void Vocabulary::add(std::string spelling, int64_t id, const std::string& where) {
  if (id < 0 || id > kMaxId) {
    fail(where + ": token \"" + spelling + "\" has id " + std::to_string(id),
         "ids are 0.." + std::to_string(kMaxId));
  }
  const auto index = static_cast<size_t>(id);
  if (index >= spellings_.size()) {
    spellings_.resize(index + 1);
    used_.resize(index + 1, false);
  }
  if (used_[index]) {
    fail(where + ": tokens \"" + spellings_[index] + "\" and \"" + spelling + "\" both have id " +
             std::to_string(id),
         "every id belongs to one token; fetch the file again");
  }
  if (!ids_.emplace(spelling, static_cast<TokenId>(id)).second) {
    fail(where + ": token \"" + spelling + "\" is listed twice", "fetch the file again");
  }
  used_[index] = true;
  spellings_[index] = std::move(spelling);
}

TokenId Vocabulary::find(std::string_view spelling) const {
  const auto it = ids_.find(spelling);
  return it == ids_.end() ? -1 : it->second;
}

bool Vocabulary::contains(TokenId id) const {
  return id >= 0 && static_cast<size_t>(id) < used_.size() && used_[static_cast<size_t>(id)];
}

const std::string& Vocabulary::spelling(TokenId id) const {
  static const std::string kNone;
  return contains(id) ? spellings_[static_cast<size_t>(id)] : kNone;
}

Bpe::Bpe(Vocabulary vocabulary, const Merges& merges, BpeOptions options, const std::string& where)
    : vocabulary_(std::move(vocabulary)), options_(std::move(options)) {
  size_t capacity = 16;
  while (capacity < merges.size() * 2) capacity *= 2;
  table_.assign(capacity, Merge{kNoPair, 0, -1});
  const std::string& prefix = options_.continuing_subword_prefix;
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string &left = merges[rank].first, &right = merges[rank].second;
    const auto known = [&](const std::string& spelling) {
      const TokenId id = vocabulary_.find(spelling);
      if (id < 0) {
        fail(where + ": merge " + std::to_string(rank) + " (\"" + left + "\", \"" + right +
                 "\") needs the token \"" + spelling + "\", which the vocabulary lacks",
             "the merges belong to another vocabulary; fetch both again");
      }
      return id;
    };
    const TokenId a = known(left);
    const TokenId b = known(right);
    if (right.size() < prefix.size()) {
      fail(where + ": merge " + std::to_string(rank) + " (\"" + left + "\", \"" + right +
               "\") lacks the continuing_subword_prefix \"" + prefix + "\"",
           "fetch the file again");
    }
    const TokenId result = known(left + right.substr(prefix.size()));
    insert_merge({pair_key(a, b), static_cast<int32_t>(rank), result});
  }
  characters_.assign(kDirectCharacters, -1);
  for (CodePoint c = 0; c < kDirectCharacters; ++c) {
    std::string spelling;
    append_utf8(spelling, c);
    characters_[c] = vocabulary_.find(spelling);
  }
  for (int byte = 0; byte < 256; ++byte) {
    char spelling[8];
    std::snprintf(spelling, sizeof(spelling), "<0x%02X>", byte);
    byte_ids_[byte] = options_.byte_fallback ? vocabulary_.find(spelling) : -1;
  }
  if (!options_.unk_token.empty()) {
    unk_ = vocabulary_.find(options_.unk_token);
    if (unk_ < 0) {
      fail(where + ": unk_token \"" + options_.unk_token + "\" is not in the vocabulary",
           "fetch the file again");
    }
  }
}

void Bpe::insert_merge(const Merge& merge) {
  const size_t mask = table_.size() - 1;
  size_t slot = pair_hash(merge.pair) & mask;
  while (table_[slot].pair != kNoPair && table_[slot].pair != merge.pair) slot = (slot + 1) & mask;
  table_[slot] = merge;
}

const Bpe::Merge* Bpe::find_merge(TokenId left, TokenId right) const {
  const uint64_t key = pair_key(left, right);
  const size_t mask = table_.size() - 1;
  for (size_t slot = pair_hash(key) & mask;; slot = (slot + 1) & mask) {
    if (table_[slot].pair == key) return &table_[slot];
    if (table_[slot].pair == kNoPair) return nullptr;
  }
}

void Bpe::start_symbols(std::string_view word, std::vector<TokenId>& ids) const {
  const bool plain =
      options_.continuing_subword_prefix.empty() && options_.end_of_word_suffix.empty();
  bool pending_unk = false;  // an unknown token that later unknown characters may still join
  std::string spelling;
  for (size_t at = 0; at < word.size();) {
    const Utf8Char c = decode_utf8(word.substr(at));
    const auto length = static_cast<size_t>(std::max(1, c.length));
    TokenId id = -1;
    std::string_view text = word.substr(at, length);
    if (plain && c.length > 0 && c.code < kDirectCharacters) {
      id = characters_[c.code];
    } else if (plain) {
      id = vocabulary_.find(text);
    } else {
      spelling.clear();
      if (at > 0) spelling += options_.continuing_subword_prefix;
      spelling += text;
      if (at + length == word.size()) spelling += options_.end_of_word_suffix;
      text = spelling;
      id = vocabulary_.find(text);
    }
    at += length;
    if (id >= 0) {
      if (pending_unk) ids.push_back(unk_);
      pending_unk = false;
      ids.push_back(id);
      continue;
    }
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (options_.byte_fallback &&
        std::all_of(text.begin(), text.end(), [&](char b) { return byte_id(b) >= 0; })) {
      // A pending unknown token stays pending and lands behind the bytes: the order of the
      // reference implementation.
      for (char byte : text) ids.push_back(byte_id(byte));
      continue;
    }
    if (unk_ < 0) continue;
    if (pending_unk && !options_.fuse_unk) ids.push_back(unk_);
    pending_unk = true;
  }
  if (pending_unk) ids.push_back(unk_);
}

void Bpe::merge_symbols(std::vector<TokenId>& ids) const {
  thread_local std::vector<Node> nodes;
  thread_local std::vector<Candidate> heap;
  const auto n = static_cast<int32_t>(ids.size());
  nodes.clear();
  heap.clear();
  const auto consider = [&](int32_t left, int32_t right) {
    if (const Merge* merge = find_merge(nodes[left].id, nodes[right].id)) {
      heap.push_back({merge->rank, left, merge->result});
      return true;
    }
    return false;
  };
  for (int32_t i = 0; i < n; ++i) nodes.push_back({ids[i], i - 1, i + 1 < n ? i + 1 : -1, true});
  for (int32_t i = 0; i + 1 < n; ++i) consider(i, i + 1);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate top = heap.back();
    heap.pop_back();
    Node& left = nodes[top.at];
    if (!left.alive || left.next < 0) continue;
    Node& right = nodes[left.next];
    const Merge* merge = find_merge(left.id, right.id);
    if (merge == nullptr || merge->result != top.result) continue;  // outdated
    left.id = merge->result;
    right.alive = false;
    left.next = right.next;
    if (right.next >= 0) nodes[right.next].previous = top.at;
    if (left.previous >= 0 && consider(left.previous, top.at)) {
      std::push_heap(heap.begin(), heap.end());
    }
    if (left.next >= 0 && consider(top.at, left.next)) std::push_heap(heap.begin(), heap.end());
  }
  ids.clear();
  for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = nodes[i].next) ids.push_back(nodes[i].id);
}

void Bpe::encode(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.empty()) return;
  if (options_.ignore_merges) {
    const TokenId whole = vocabulary_.find(word);
    if (whole >= 0) {
      ids.push_back(whole);
      return;
    }
  }
  thread_local std::vector<TokenId> symbols;
  symbols.clear();
  start_symbols(word, symbols);
  if (symbols.size() > 1) merge_symbols(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace zeroth
