// Checkpoints in GGUF: the config that a Hugging Face config.json would hold, the weights under
// Hugging Face names, the embedded tokenizer.
#pragma once

#include <filesystem>
#include <memory>

#include "model/config.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf.h"
#include "text/tokenizer.h"

namespace zeroth {

// True for a name that ends in .gguf, in whatever case.
bool has_gguf_name(const std::filesystem::path& path);
// True for a path that names a GGUF file: by its name or by its first bytes.
bool is_gguf(const std::filesystem::path& path);

// A Hugging Face config.json for the model. Architectures: those of model/formats/gguf_names.cc.
// Throws Error naming the file and the key that is missing or cannot be expressed.
Json gguf_config(const GgufFile& file);
// Divisors of rotary frequencies that stand in tensors; empty: the file has none.
struct GgufRopeDivisors {
  std::vector<float> llama3;                       // rope_freqs.weight
  std::vector<float> short_factors, long_factors;  // rope_factors_short.weight, .._long.weight
};
// The same from metadata and tensor shapes.
Json gguf_config(const GgufContents& contents, const GgufRopeDivisors& divisors);

// Opens a file; missing, unexpected and misshapen tensors are Errors with the tensor's name.
OpenModel open_gguf(const std::filesystem::path& path);

// The embedded tokenizer: tokenizer.ggml.model "gpt2" with the word rules that tokenizer.ggml.pre
// names, or "llama" (SentencePiece). Unknown rules are an Error that names them.
std::unique_ptr<Tokenizer> gguf_tokenizer(const std::filesystem::path& path);

// The tokenizer of a model: of a Hugging Face folder (Tokenizer::load) or inside a .gguf file.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& model);

}  // namespace zeroth
