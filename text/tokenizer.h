// Text <-> token ids. Byte-level BPE (tokenizer.json, exact over PCRE2) and SentencePiece
// (tokenizer.model).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/trajectory.h"
#include "text/special_tokens.h"

namespace zeroth {

enum class TokenizerFormat { kBytePairs, kSentencePiece };

// Immutable after loading; const methods are thread safe and bounded in time by their input.
class Tokenizer {
 public:
  // Reads the tokenizer of a Hugging Face directory: tokenizer.json, vocab.json + merges.txt, or
  // tokenizer.model, with the special tokens that the configs beside it name. Malformed files are Errors that name file and
  // field, and so are rules that this reader does not know. A .gguf file that embeds one:
  // load_tokenizer (model/formats/gguf_model.h).
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& dir);
  virtual ~Tokenizer() = default;

  // Special tokens that appear in the text are matched when `special` is set. No begin-of-text
  // token is added.
  virtual std::vector<TokenId> encode(std::string_view text, bool special = true) const = 0;
  // Invalid UTF-8 (a cut byte sequence) is kept as bytes. Special tokens are left out when
  // skip_special.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_special = true) const = 0;
  // Raw bytes of one token, as decode would append them in the middle of a text.
  virtual std::string token_bytes(TokenId id) const = 0;
  virtual int vocab_size() const = 0;  // largest id + 1
  // The token as its vocabulary spells it ("Ġhello", "▁hello", "<0x0A>"); empty for an unknown id.
  virtual std::string token_text(TokenId id) const { return token_bytes(id); }
  // The token of that spelling, -1: none.
  virtual TokenId token_id(std::string_view spelling) const;

  virtual TokenizerFormat format() const { return TokenizerFormat::kBytePairs; }

  // Which tokens begin and end texts here, and what the files say about it.
  const SpecialTokens& special() const { return special_; }
  const std::vector<TokenId>& eos_ids() const { return special_.ends; }
  TokenId bos_id() const { return special_.begin; }
  // Files that make up this tokenizer; empty when it came out of a GGUF file.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // What belongs beside every checkpoint: names and contents of these files, or of the equal ones
  // made for a tokenizer without any.
  std::map<std::string, std::string> contents() const;
  // The chat template in Jinja that stands beside the tokenizer: chat_template.jinja, or a member
  // of tokenizer_config.json (the one named "default" of several). Empty: none.
  std::string chat_template() const;

  // For readers of formats that keep these elsewhere; before the tokenizer is shared.
  void set_made_files(std::map<std::string, std::string> files) { made_files_ = std::move(files); }
  // Reads the special tokens anew from contents(), and from the model's config.json where there is
  // one (else an empty object). `where` names the folder in errors.
  void read_special_tokens(const Json& model_config, const std::string& where);

 protected:
  SpecialTokens special_;  // before read_special_tokens: what the model file itself names
  Json post_processor_;    // of tokenizer.json; null: none
  std::vector<std::filesystem::path> files_;
  std::map<std::string, std::string> made_files_;
};

}  // namespace zeroth
