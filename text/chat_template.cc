#include "text/chat_template.h"

#include "core/error.h"
#include "text/jinja/python_text.h"

namespace zeroth {
namespace {

constexpr const char* kContinueMark = "CONTINUE_FINAL_MESSAGE_TAG ";

// Keys whose value is null are left out, and the names of reasoning are filled from each other.
Json prepared(const Json& message) {
  Json out = Json::object();
  for (const auto& [key, value] : message.items()) {
    if (!value.is_null()) out[key] = value;
  }
  for (const char* field : {"reasoning_content", "thinking", "reasoning"}) {
    if (!out.contains(field)) continue;
    const Json reasoning = out[field];
    if (!out.contains("thinking")) {
      Json first = {{"thinking", reasoning}};
      first.update(out);
      out = std::move(first);
    }
    out["reasoning_content"] = reasoning;
    break;
  }
  return out;
}

// Puts the mark behind the text that is to be continued; returns that text.
std::string mark_final(Json& messages, const std::string& source) {
  const auto refuse = [&](const char* what) {
    fail(source + ": continue_final_message is set but " + what);
  };
  if (messages.empty()) refuse("the conversation is empty");
  Json& last = messages.back();
  if (!last.contains("content")) refuse("the final message has no content to continue");
  Json* content = &last["content"];
  if (content->is_array()) {
    Json* found = nullptr;
    for (Json& part : *content) {
      if (part.is_object() && part.contains("text")) found = &part["text"];
    }
    if (found == nullptr) refuse("the final message holds no text");
    content = found;
  }
  if (!content->is_string()) refuse("the final message's content is no text");
  const std::string text = content->get<std::string>();
  *content = text + kContinueMark;
  return text;
}

std::string without_mark(const std::string& rendered, const std::string& final_text,
                         const std::string& source) {
  const std::string_view mark = kContinueMark;
  const std::string_view tight = jinja::stripped(mark);
  const size_t at = rendered.rfind(tight);
  if (at == std::string::npos || rendered.find(jinja::stripped(final_text)) == std::string::npos) {
    fail(source + ": continue_final_message is set but the final message does not appear in the " +
         "text that the chat template makes");
  }
  const std::string head = rendered.substr(0, at);
  if (rendered.compare(at, mark.size(), mark) == 0) return head;
  return std::string(jinja::stripped(head, jinja::Side::kRight));
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view jinja, Json special_tokens, const jinja::DateTime& date,
                           const std::string& source)
    : template_(jinja::Template::parse(jinja, source)),
      special_tokens_(std::move(special_tokens)),
      date_(date),
      source_(source) {}

std::string ChatTemplate::render(const Conversation& conversation,
                                 std::vector<jinja::GenerationSpan>* spans) const {
  if (!conversation.messages.is_array()) {
    fail(source_ + ": the messages of a conversation are no list", "give a list of objects");
  }
  Json messages = Json::array();
  for (const Json& message : conversation.messages) {
    if (!message.is_object()) {
      fail(source_ + ": a message of a conversation is no object", "give it a role and a content");
    }
    messages.push_back(prepared(message));
  }
  std::string final_text;
  if (conversation.continue_final_message) {
    if (conversation.add_generation_prompt) {
      fail(source_ + ": continue_final_message and add_generation_prompt are both set",
           "set one of them");
    }
    final_text = mark_final(messages, source_);
  }
  Json variables = special_tokens_;
  for (const auto& [name, value] : conversation.variables.items()) variables[name] = value;
  variables["messages"] = std::move(messages);
  variables["tools"] = conversation.tools;
  variables["documents"] = conversation.documents;
  variables["add_generation_prompt"] = conversation.add_generation_prompt;
  const std::string out = template_.render(variables, date_, spans);
  return conversation.continue_final_message ? without_mark(out, final_text, source_) : out;
}

}  // namespace zeroth
