// Chat requests to prompts, by the template that a checkpoint ships.
#pragma once

#include <functional>
#include <string>

#include "core/json.h"
#include "text/tokenizer.h"

namespace zeroth::serve {

// The text of a chat completion's body (messages, tools, documents, chat_template_kwargs,
// add_generation_prompt, continue_final_message), as transformers' apply_chat_template makes it.
// Empty when the checkpoint has no template. The function is thread safe and throws Error for what
// the template refuses; the tokenizer need not outlive it.
std::function<std::string(const Json& request)> chat_renderer(const Tokenizer& tokenizer);

}  // namespace zeroth::serve
