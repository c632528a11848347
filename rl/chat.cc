#include "rl/chat.h"

#include "core/error.h"
#include "tasks/options.h"
#include "text/chat_template.h"

namespace zeroth {

std::string with_chat_template(const std::string& name, const Tokenizer& tokenizer,
                               const std::string& date) {
  if (name != "chat") return name;
  const std::string text = tokenizer.chat_template();
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    fail("template chat: the checkpoint has no chat template",
         "name a template: bare, plain, r1_zero, chatml, llama3, deepseek, mistral, or a text with "
         "{question}");
  }
  const SpecialTokens& special = tokenizer.special();
  const jinja::Template parsed = jinja::Template::parse(text, "the checkpoint's chat template");
  for (const std::string& input : parsed.inputs()) {
    if (special.named || (input != "bos_token" && input != "eos_token")) continue;
    fail("the checkpoint's chat template asks for " + input +
             ", and no file beside the tokenizer names one",
         "put the checkpoint's tokenizer_config.json there, or name another template");
  }
  return own_chat_template(text, special.texts,
                           date.empty() ? jinja::to_string(jinja::current_date()) : date);
}

Json with_chat_template(Json options, const Tokenizer& tokenizer, const std::string& date) {
  if (!options.is_structured()) return options;
  // Mixtures hold the options of their tasks.
  for (const auto& [key, value] : options.items()) {
    if (key == "template" && value.is_string()) {
      value = with_chat_template(value.get<std::string>(), tokenizer, date);
    } else if (value.is_structured()) {
      value = with_chat_template(value, tokenizer, date);
    }
  }
  return options;
}

std::vector<TokenId> encode_prompt(const PromptEncoder& prompts, const Task& task,
                                   const Problem& problem) {
  return prompts.encode(problem.prompt, task.is_chat(problem));
}

}  // namespace zeroth
