// Begin and end tokens: what the files beside a tokenizer say about them, taken together as
// transformers and vLLM take it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/json.h"
#include "core/trajectory.h"

namespace zeroth {

class Tokenizer;

struct SpecialTokens {
  // Ids that end a completion: the tokenizer's eos_token, then what generation_config.json and
  // config.json add. The first is the one that ends a document. May be empty.
  std::vector<TokenId> ends;
  TokenId begin = -1;  // bos_token; -1: none
  // What the tokenizer puts around a text by itself: as its post-processor says, or add_bos_token
  // and add_eos_token of tokenizer_config.json, which replace it.
  std::vector<TokenId> front, back;
  // bos_token, eos_token, .. as texts: what chat templates ask for. `named`: some file names them.
  Json texts = Json::object();
  bool named = false;
  // How many of the last ids belong to tokens that only a config names (a pad_token that the
  // vocabulary lacks): a model need not have rows for them.
  int named_only = 0;
  // Contradictions between the files and how they were taken, a sentence each.
  std::vector<std::string> notes;
};

// `files`: names and contents of a tokenizer's files. `post_processor`: of tokenizer.json, may be
// null. What no file names stays as tokenizer.special() has it. Throws Error naming `where`, file
// and key for malformed values and for post-processors that are not known.
SpecialTokens special_tokens_of(const Tokenizer& tokenizer,
                                const std::map<std::string, std::string>& files,
                                const Json& model_config, const Json& post_processor,
                                const std::string& where);

}  // namespace zeroth
