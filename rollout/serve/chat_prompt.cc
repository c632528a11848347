#include "rollout/serve/chat_prompt.h"

#include <memory>

#include "core/error.h"
#include "text/chat_template.h"

namespace zeroth::serve {
namespace {

Json member(const Json& request, const char* name) {
  const auto found = request.find(name);
  return found == request.end() ? Json() : *found;
}

bool flag(const Json& request, const char* name, bool otherwise) {
  const Json value = member(request, name);
  if (value.is_null()) return otherwise;
  if (!value.is_boolean()) fail_usage(std::string("'") + name + "' is neither true nor false");
  return value.get<bool>();
}

}  // namespace

std::function<std::string(const Json& request)> chat_renderer(const Tokenizer& tokenizer) {
  const std::string jinja = tokenizer.chat_template();
  if (jinja.find_first_not_of(" \t\r\n") == std::string::npos) return {};
  const auto shared = std::make_shared<const ChatTemplate>(
      jinja, tokenizer.special().texts, jinja::current_date(), "the chat template");
  return [shared](const Json& request) {
    Conversation talk;
    talk.messages = member(request, "messages");
    talk.tools = member(request, "tools");
    talk.documents = member(request, "documents");
    talk.add_generation_prompt = flag(request, "add_generation_prompt", true);
    talk.continue_final_message = flag(request, "continue_final_message", false);
    if (const Json kwargs = member(request, "chat_template_kwargs"); kwargs.is_object())
      talk.variables = kwargs;
    return shared->render(talk);
  };
}

}  // namespace zeroth::serve
