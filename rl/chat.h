// Which chat template a run uses, and the tokens of its prompts.
#pragma once

#include "core/config.h"
#include "tasks/task.h"
#include "text/prompt.h"

namespace zeroth {

// The options of a task with template "chat" replaced by the checkpoint's own, which sees `date`
// (text/prompt.h; empty: today's); others stay as they are. Throws Error for a checkpoint without a
// chat template and for one that cannot be run here (text/jinja/template.h).
Json with_chat_template(Json options, const Tokenizer& tokenizer, const std::string& date);
// The same for the name of a template.
std::string with_chat_template(const std::string& name, const Tokenizer& tokenizer,
                               const std::string& date);

// The tokens of a problem's prompt.
std::vector<TokenId> encode_prompt(const PromptEncoder& prompts, const Task& task,
                                   const Problem& problem);

}  // namespace zeroth
