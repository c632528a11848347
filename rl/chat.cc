#include "rl/chat.h"

#include "text/chat_template.h"

namespace zeroth {

std::string with_chat_template(const std::string& name, const Tokenizer& tokenizer) {
  if (name != "chat") return name;
  const std::string text = tokenizer.chat_template();
  ChatTemplate::recognise(text,
                          "the checkpoint's tokenizer");  // here rather than at the first prompt
  return text.empty() ? "plain" : "chat:" + text;
}

Json with_chat_template(Json options, const Tokenizer& tokenizer) {
  if (!options.is_structured()) return options;
  // Mixtures hold the options of their tasks.
  for (const auto& [key, value] : options.items()) {
    if (key == "template" && value.is_string()) {
      value = with_chat_template(value.get<std::string>(), tokenizer);
    } else if (value.is_structured()) {
      value = with_chat_template(value, tokenizer);
    }
  }
  return options;
}

}  // namespace zeroth
