// A tokenizer over a SentencePiece BPE model: Llama 2, Mistral, Mixtral and their kin. Ids equal
// those of the sentencepiece library (0.2) for every valid text. Two differences are meant: bytes
// that are not UTF-8 become byte pieces where the model has them (the library writes U+FFFD), and
// decode keeps the bytes of a cut character.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "text/sentencepiece_model.h"
#include "text/tokenizer.h"
#include "text/tokenizer_added.h"

namespace zeroth {

// Immutable after construction; thread safe.
class SentencePieceTokenizer : public Tokenizer {
 public:
  // Throws Error naming `source` for a model that is not BPE, has normalization rules beyond white
  // space, repeats a piece, or lacks an unknown piece.
  SentencePieceTokenizer(SentencePieceModel model, const std::string& source);

  // Tokens beside the model's own, objects as in tokenizer.json's added_tokens, with ids; those
  // without one get the next free id. Before the tokenizer is shared. `prefix_once`: only the start
  // of a text gets the space that the model puts in front of words (transformers' legacy = false),
  // not the text behind a special token.
  void add_tokens(const Json& items, bool prefix_once, const std::string& source);

  // With `special`, control pieces that are spelt out in the text ("<s>") are matched; the text
  // between two of them is encoded on its own. The library itself never matches them.
  std::vector<TokenId> encode(std::string_view text, bool special) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override;
  std::string token_bytes(TokenId id) const override;
  std::string token_text(TokenId id) const override;
  TokenId token_id(std::string_view text) const override;
  TokenizerFormat format() const override { return TokenizerFormat::kSentencePiece; }
  int vocab_size() const override {
    return std::max(static_cast<int>(model_.pieces.size()), added_.end());
  }

 private:
  struct Symbol;
  struct Pair;
  class Merger;

  std::string normalize(std::string_view text, bool prefix) const;
  void encode_plain(std::string_view text, bool prefix, std::vector<TokenId>& ids) const;
  void encode_part(std::string_view text, bool opens_text, bool special,
                   std::vector<TokenId>& ids) const;
  TokenId find_piece(std::string_view text) const;  // that a merge may make; -1: none
  void append_piece(std::string_view text, std::vector<TokenId>& ids) const;
  PieceType type(TokenId id) const { return model_.pieces[static_cast<size_t>(id)].type; }
  bool known(TokenId id) const { return id >= 0 && static_cast<size_t>(id) < model_.pieces.size(); }
  std::string surface(TokenId id) const;

  SentencePieceModel model_;
  std::unordered_map<std::string_view, TokenId> pieces_;    // normal, user-defined and unused
  std::unordered_map<std::string_view, TokenId> reserved_;  // control, unknown, byte
  TextTrie user_defined_;
  TextTrie control_;
  AddedTokens added_;
  bool prefix_once_ = false;
  TokenId byte_ids_[256];  // -1: none
  TokenId unk_ = -1;
  // No piece holds a space behind anything but spaces, so no merge crosses the start of a word and
  // words can be merged one by one: the same pieces, without a heap over the whole text.
  bool words_are_apart_ = true;
};

}  // namespace zeroth
