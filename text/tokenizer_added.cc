#include "text/tokenizer_added.h"

#include <algorithm>

#include "core/error.h"
#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

// The last character of a valid text.
CodePoint last_character(std::string_view text) {
  size_t start = text.size() - 1;
  while (start > 0 && (text[start] & 0xc0) == 0x80) --start;
  return decode_utf8(text.substr(start)).code;
}

size_t white_space_at_end(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const CodePoint c = last_character(text.substr(0, text.size() - length));
    if (!is_white_space(c)) break;
    length += c < 0x80 ? 1 : c < 0x800 ? 2 : 3;
  }
  return length;
}

size_t white_space_at_start(std::string_view text) {
  size_t length = 0;
  while (length < text.size()) {
    const Utf8Char c = decode_utf8(text.substr(length));
    if (!is_white_space(c.code) || c.length == 0) break;
    length += c.length;
  }
  return length;
}

}  // namespace

void TextTrie::add(std::string_view text, int value) {
  size_t node = 0;
  for (char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    auto& children = nodes_[node].children;
    auto it = std::lower_bound(children.begin(), children.end(), byte,
                               [](const auto& child, unsigned char b) { return child.first < b; });
    if (it == children.end() || it->first != byte) {
      it = children.insert(it, {byte, static_cast<int>(nodes_.size())});
      node = static_cast<size_t>(it->second);
      nodes_.emplace_back();
    } else {
      node = static_cast<size_t>(it->second);
    }
  }
  if (nodes_[node].value < 0) nodes_[node].value = value;
}

std::pair<int, size_t> TextTrie::longest(std::string_view text) const {
  std::pair<int, size_t> best{-1, 0};
  size_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto& children = nodes_[node].children;
    const auto it =
        std::lower_bound(children.begin(), children.end(), byte,
                         [](const auto& child, unsigned char b) { return child.first < b; });
    if (it == children.end() || it->first != byte) break;
    node = static_cast<size_t>(it->second);
    if (nodes_[node].value >= 0) best = {nodes_[node].value, i + 1};
  }
  return best;
}

void AddedTokens::add(const AddedToken& token, const Vocabulary& vocabulary) {
  if (token.content.empty() || by_content_.contains(token.content)) return;
  TokenId id = vocabulary.find(token.content);
  if (id < 0) id = std::max(end_, static_cast<TokenId>(vocabulary.size()));
  if (id > Vocabulary::kMaxId) fail("more than " + std::to_string(id) + " tokens");
  by_content_.emplace(token.content, tokens_.size());
  by_id_[id] = tokens_.size();
  tokens_.push_back(token);
  ids_.push_back(id);
  end_ = std::max(end_, id + 1);
}

void AddedTokens::finish(const Normalizer* normalizer) {
  // Special tokens first: of two with the same normalized form they win.
  for (const bool special : {true, false}) {
    for (size_t i = 0; i < tokens_.size(); ++i) {
      AddedToken& token = tokens_[i];
      if (token.special != special) continue;
      if (token.normalized && normalizer != nullptr) {
        token.content = normalizer->apply(token.content);
      }
      if (!token.content.empty()) tries_[token.normalized].add(token.content, static_cast<int>(i));
    }
  }
}

std::vector<AddedTokens::Part> AddedTokens::split(std::string_view text, bool normalized,
                                                  bool special) const {
  std::vector<Part> parts;
  const TextTrie& trie = tries_[normalized];
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !trie.empty();) {
    const auto [index, length] = trie.longest(text.substr(at));
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<size_t>(index)];
    size_t begin = at;
    size_t end = at + length;
    at = end;
    if (token.special && !special) continue;
    if (token.single_word) {
      const bool word_before = begin > 0 && is_word(last_character(text.substr(0, begin)));
      const bool word_behind = end < text.size() && is_word(decode_utf8(text.substr(end)).code);
      if (word_before || word_behind) continue;
    }
    // Blanks that the token before has swallowed with its rstrip are gone.
    if (end <= done || (begin < done && !token.lstrip)) continue;
    begin = std::max(begin, done);
    if (token.lstrip) begin -= white_space_at_end(text.substr(done, begin - done));
    if (token.rstrip) end += white_space_at_start(text.substr(end));
    if (done < begin) parts.push_back({{done, begin}, -1});
    parts.push_back({{begin, end}, ids_[static_cast<size_t>(index)]});
    done = end;
  }
  if (done < text.size()) parts.push_back({{done, text.size()}, -1});
  return parts;
}

const AddedToken* AddedTokens::find(TokenId id) const {
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : &tokens_[it->second];
}

TokenId AddedTokens::id_of(std::string_view content) const {
  const auto it = by_content_.find(std::string(content));
  return it == by_content_.end() ? -1 : ids_[it->second];
}

}  // namespace zeroth
