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

#include "core/trajectory.h"

namespace zeroth {

enum class TokenizerFormat { kBytePairs, kSentencePiece };

// Immutable after loading; const methods are thread safe and bounded in time by their input.
class Tokenizer {
 public:
  // Reads the tokenizer of a Hugging Face directory: tokenizer.json, vocab.json + merges.txt, or
  // tokenizer.model, with special ids from generation_config.json / tokenizer_config.json /
  // config.json (the first of these that names any). Malformed files are Errors that name file and
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

  // Ids that end a sequence (may be empty), and the begin-of-text id (-1: none).
  const std::vector<TokenId>& eos_ids() const { return eos_; }
  TokenId bos_id() const { return bos_; }
  // Files that make up this tokenizer; empty when it came out of a GGUF file.
  const std::vector<std::filesystem::path>& files() const { return files_; }
  // What belongs beside every checkpoint: names and contents of these files, or of the equal ones
  // made for a tokenizer without any.
  std::map<std::string, std::string> contents() const;
  // The chat template in Jinja that stands beside the tokenizer: chat_template.jinja, or a member
  // of tokenizer_config.json (the one named "default" of several). Empty: none.
  std::string chat_template() const;

  // For readers of formats that keep these elsewhere; before the tokenizer is shared.
  void set_special_ids(std::vector<TokenId> eos, TokenId bos) {
    eos_ = std::move(eos);
    bos_ = bos;
  }
  void set_made_files(std::map<std::string, std::string> files) { made_files_ = std::move(files); }

 protected:
  // Sets eos_ and bos_ from the configs in `dir` where those name any.
  void read_special_ids(const std::filesystem::path& dir);

  std::vector<TokenId> eos_;
  TokenId bos_ = -1;
  std::vector<std::filesystem::path> files_;
  std::map<std::string, std::string> made_files_;
};

}  // namespace zeroth
