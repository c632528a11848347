// Reads tokenizer.json, vocab.json and merges.txt into plain data. The files are untrusted: sizes,
// depth and types are checked, and every error names the file and the field.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config.h"
#include "text/bpe.h"

namespace zeroth {

struct TokenizerFile {
  Json rest;              // the document without model.vocab and model.merges
  Vocabulary vocabulary;  // model.vocab
  Bpe::Merges merges;     // model.merges, by rank; both spellings, "a b" and ["a", "b"]
};

// `source` names the file in errors.
TokenizerFile parse_tokenizer_json(std::string_view text, const std::string& source);

// {"token": id, ..}
Vocabulary parse_vocab_json(std::string_view text, const std::string& source);

// One "left right" a line; lines that start with #version and blank lines are passed over.
Bpe::Merges parse_merges_txt(std::string_view text, const std::string& source);

// The inverse of parse_tokenizer_json, with every member that Hugging Face's tokenizers asks for.
std::string write_tokenizer_json(const TokenizerFile& file);

// Largest file that is read: real ones stay below 40 MB.
constexpr uint64_t kMaxTokenizerFile = uint64_t{256} << 20;

}  // namespace zeroth
