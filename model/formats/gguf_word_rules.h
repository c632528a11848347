// How text is cut into words before merging, by the names that llama.cpp has for such rules
// (tokenizer.ggml.pre; llama-vocab.cpp).
#pragma once

#include <string>

#include "core/config.h"

namespace zeroth {

// The parts of a tokenizer.json around its vocabulary that the name stands for. Throws Error naming
// `source` for a name that is not known.
Json gguf_word_rules(const std::string& name, const std::string& source);

// The name of the rules that a tokenizer.json (without its vocabulary) has; empty: none known.
std::string gguf_word_rules_name(const Json& document);

// Whether llama.cpp puts the begin token in front of texts under that name when the file does not
// say.
bool gguf_adds_begin(const std::string& name);

// All names, for messages.
std::string gguf_word_rules_known();

}  // namespace zeroth
