// Writes GGUF files that llama.cpp loads: metadata, tokenizer, weights.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "model/config.h"
#include "model/formats/gguf.h"
#include "model/formats/gguf_model.h"
#include "model/parameters.h"
#include "text/tokenizer.h"

namespace zeroth {

struct GgufOptions {
  // F32, F16, BF16 or Q8_0, of matrices. Vectors and routers stay F32; matrices whose rows are no
  // multiple of 32 values are stored as F16 when Q8_0 is asked for.
  GgmlType type = GgmlType::kF32;
  // llama.cpp's name for the tokenizer's word rules (tokenizer.ggml.pre); empty: found by comparing
  // the rules. A name that is given is not checked, and the whole tokenizer.json goes into the file
  // as well (tokenizer.huggingface.json), where Zeroth finds it again.
  std::string word_rules;
};

// `tokenizer` may be null: the file then holds none. Returns what llama.cpp cannot do with it, for
// the user: a tokenizer whose word rules it does not know goes in for Zeroth alone; empty: nothing.
// Throws Error, before anything is written, for a config that llama.cpp cannot express (naming the
// feature) and for a tokenizer with more tokens than the model; later for a full disk. The file
// appears under its name only when it is whole.
std::string write_gguf(const std::filesystem::path& path, const PolicyConfig& config,
                       const Parameters& parameters, const Tokenizer* tokenizer,
                       const GgufOptions& options);

// Metadata of a model without its tokenizer. Throws Error as above.
std::map<std::string, GgufValue> gguf_metadata(const PolicyConfig& config);
// Those of a model's scaling that are stored in tensors.
GgufRopeDivisors gguf_rope_divisors(const PolicyConfig& config);
// Adds tokenizer.* for a vocabulary of `vocab_size` tokens; ids without a token become unused ones.
// Returns a note as above.
std::string add_gguf_tokenizer(const Tokenizer& tokenizer, int vocab_size,
                               const std::string& word_rules,
                               std::map<std::string, GgufValue>& metadata);

}  // namespace zeroth
