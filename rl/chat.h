// Which chat template a run uses.
#pragma once

#include "core/config.h"
#include "text/tokenizer.h"

namespace zeroth {

// The options of a task with template "chat" replaced by what the checkpoint's tokenizer names;
// others stay as they are. Throws Error for a template that is not known (text/chat_template.h).
Json with_chat_template(Json options, const Tokenizer& tokenizer);
// The same for the name of a template.
std::string with_chat_template(const std::string& name, const Tokenizer& tokenizer);

}  // namespace zeroth
