// Requests of the OpenAI completion protocols, read within bounds.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/json.h"
#include "model/config.h"
#include "rollout/sampler.h"
#include "text/tokenizer.h"

namespace zeroth::serve {

// A request is refused: HTTP's status, and the field that is to blame.
struct BadRequest {
  int status = 400;
  std::string message = {}, field = {};
};

struct CompletionRequest {
  bool chat = false;
  bool stream = false, stream_usage = false;
  bool logprobs = false;
  bool token_ids = false;                  // return_token_ids: of prompt and completion
  std::vector<GenerationRequest> prompts;  // one each, of `n` samples
  std::vector<std::string> stops;
  int n = 1;
};

// What a server knows when it reads one.
struct ServedModel {
  std::string name;
  const PolicyConfig* config = nullptr;
  const Tokenizer* tokenizer = nullptr;
  // Messages and tools to the text of a prompt; empty: the model has no chat template.
  std::function<std::string(const Json& request)> render = {};
  int most_samples = 256;  // of one request
};

// Reads a body for /v1/completions, or /v1/chat/completions (`chat`). Throws BadRequest. Without a
// seed, `random_seed` is taken. Fields that would change the result and are not supported are
// refused unless they have their neutral value; others are ignored.
CompletionRequest read_completion_request(const Json& body, bool chat, const ServedModel& model,
                                          uint64_t random_seed);

}  // namespace zeroth::serve
