// Byte-pair tokenizers that are stored as a list of byte strings with ranks: tiktoken's files
// (Moonlight and Kimi; Llama 3 in Meta's own layout) and Mistral's tekken.json. The files are
// untrusted, as in tokenizer_file.h.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer_file.h"

namespace zeroth {

// Whether a tokenizer.model is a list of ranks and no SentencePiece model.
bool is_rank_file(std::string_view text);

// Lines of a byte string in base64 and its rank, which is its id. Word rules and special tokens are
// those of the class that `settings` (tokenizer_config.json) names, or else Llama 3's when there are
// as many ranks. Throws Error naming `source` for other files and for malformed lines.
TokenizerFile parse_ranks(std::string_view text, const Json& settings, const std::string& source);

// {"config": {"pattern", ..}, "vocab": [{"rank", "token_bytes"}, ..], "special_tokens": [..]}: the
// special tokens have the first ids, <s> stands in front of texts.
TokenizerFile parse_tekken(std::string_view text, const std::string& source);

}  // namespace zeroth
