// The files that describe one tokenizer, read together.
#pragma once

#include <map>
#include <string>

#include "core/config.h"
#include "text/tokenizer_file.h"

namespace zeroth {

// A byte-pair tokenizer from tokenizer.json, from vocab.json and merges.txt with the word rules of
// the class that tokenizer_config.json names, from tekken.json, or from ranks (tiktoken.model, or a
// tokenizer.model of that kind); with configured_tokens(). `files`: names and contents. Throws
// Error naming the file in `where`.
TokenizerFile byte_pair_tokenizer(const std::map<std::string, std::string>& files,
                                  const std::string& where);

// Whether byte_pair_tokenizer() can read these.
bool holds_byte_pairs(const std::map<std::string, std::string>& files);

// The first of the files that it reads, for messages.
std::string byte_pair_file(const std::map<std::string, std::string>& files);

// Tokens beside the model's own, as transformers 5 adds them: those of added_tokens_decoder in
// tokenizer_config.json (or of an older added_tokens.json), by id; then special tokens that only
// have a name there (pad_token, additional_special_tokens, ..), without an id. Objects as in
// tokenizer.json's added_tokens.
Json configured_tokens(const std::map<std::string, std::string>& files, const std::string& where);

// tokenizer_config.json, or an empty object.
Json tokenizer_settings(const std::map<std::string, std::string>& files, const std::string& where);

// See Tokenizer::chat_template.
std::string chat_template_text(const std::map<std::string, std::string>& files,
                               const std::string& where);

// A token of tokenizer_config.json: "text" or {"content": "text", ..}; empty for anything else.
std::string token_content(const Json& json);

}  // namespace zeroth
