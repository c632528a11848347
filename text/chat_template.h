// Conversations to one text: a checkpoint's chat template, driven as transformers drives it
// (apply_chat_template with tokenize=False; chat_template_utils.py of 5.24).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "text/jinja/template.h"

namespace zeroth {

struct Conversation {
  Json messages = Json::array();  // objects with role, content, tool_calls, ..
  Json tools;                     // JSON schemas of functions; null: none
  Json documents;                 // objects with title and text; null: none
  bool add_generation_prompt = true;
  // The last message is left open for the policy to go on with.
  bool continue_final_message = false;
  Json variables = Json::object();  // further names that the template may ask for
};

// Immutable; const methods are thread safe.
class ChatTemplate {
 public:
  // The Jinja text of a checkpoint, with the texts of its special tokens: an object of bos_token,
  // eos_token, .. Throws jinja::TemplateError naming `source`.
  ChatTemplate(std::string_view jinja, Json special_tokens, const jinja::DateTime& date,
               const std::string& source);

  // Throws jinja::TemplateError for what the template refuses and what is not read here, Error for
  // messages that are no list of objects.
  std::string render(const Conversation& conversation,
                     std::vector<jinja::GenerationSpan>* spans = nullptr) const;

 private:
  jinja::Template template_;
  Json special_tokens_;
  jinja::DateTime date_;
  std::string source_;
};

}  // namespace zeroth
