// The pipeline of a tokenizer.json around a BPE model: added tokens, normalizer, pre-tokenizer,
// model, decoder.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/tokenizer_added.h"
#include "text/tokenizer_file.h"
#include "text/tokenizer_steps.h"

namespace zeroth {

// Immutable after construction; thread safe.
class BpeTokenizer : public Tokenizer {
 public:
  // Throws Error naming `source` and the field that is malformed or unknown.
  BpeTokenizer(TokenizerFile file, const std::string& source);

  std::vector<TokenId> encode(std::string_view text, bool special) const override;
  std::string decode(std::span<const TokenId> ids, bool skip_special) const override;
  std::string token_bytes(TokenId id) const override;
  std::string token_text(TokenId id) const override;
  TokenId token_id(std::string_view text) const override;
  int vocab_size() const override;

 private:
  void encode_valid(std::string_view text, bool opens_text, bool special,
                    std::vector<TokenId>& ids) const;
  void encode_words(std::string_view text, bool opens_text, std::vector<TokenId>& ids) const;
  void encode_bytes(std::string_view bytes, std::vector<TokenId>& ids) const;

  std::unique_ptr<Bpe> model_;
  std::unique_ptr<Normalizer> normalizer_;       // may be null
  std::unique_ptr<PreTokenizer> pre_tokenizer_;  // may be null
  std::unique_ptr<Decoder> decoder_;             // may be null: spellings joined by spaces
  AddedTokens added_;
  bool byte_level_ = false;
};

}  // namespace zeroth
