// The files that describe one tokenizer, read together.
#pragma once

#include <map>
#include <string>

#include "core/config.h"
#include "text/tokenizer_file.h"

namespace zeroth {

// A byte-pair tokenizer from tokenizer.json, or from vocab.json and merges.txt with the word rules
// of the class that tokenizer_config.json names; with the tokens that only tokenizer_config.json
// knows (added_tokens_decoder). `files`: names and contents. Throws Error naming the file in
// `where`.
TokenizerFile byte_pair_tokenizer(const std::map<std::string, std::string>& files,
                                  const std::string& where);

// tokenizer_config.json, or an empty object.
Json tokenizer_settings(const std::map<std::string, std::string>& files, const std::string& where);

// See Tokenizer::chat_template.
std::string chat_template_text(const std::map<std::string, std::string>& files,
                               const std::string& where);

// A token of tokenizer_config.json: "text" or {"content": "text", ..}; empty for anything else.
std::string token_content(const Json& json);

}  // namespace zeroth
