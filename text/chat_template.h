// Chat templates: how a conversation becomes one text. The five shapes that open checkpoints use,
// as their own tokenizer_config.json (chat_template, in Jinja) would render them; the Jinja itself
// is not run, but recognised by what it writes.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

struct ChatTurn {
  std::string role;  // system, user or assistant
  std::string content;
};

// Pure data; thread safe.
class ChatTemplate {
 public:
  // "chatml", "llama3", "deepseek", "mistral" or "plain". Throws a usage Error that lists them.
  static ChatTemplate named(const std::string& name);
  // From the Jinja text of a checkpoint; empty text gives "plain". Also finds what belongs to the
  // shape: the system text that Qwen2.5 and SmolLM2 put in front when there is none, the dates of
  // Llama 3.1, the opened <think> of DeepSeek-R1, the blanks of Mistral's versions. Throws Error
  // for a text that is none of the shapes, naming `source`, its beginning and how to set one.
  static ChatTemplate recognise(std::string_view jinja, const std::string& source);

  const std::string& name() const { return name_; }
  // The text up to where the assistant answers. Throws Error for a role that is none of the three.
  std::string render(std::span<const ChatTurn> turns) const;
  // The text for one question of a user, with "{question}" in its place.
  std::string question_text() const;

 private:
  std::string name_;
  std::string default_system_;    // chatml
  std::string system_prefix_;     // llama3: in front of every system text
  std::string think_;             // deepseek: behind the last assistant mark
  bool words_ = false;            // deepseek: V2's "User: " instead of marks
  std::string open_ = "[INST] ";  // mistral
  std::string close_ = " [/INST]";
};

}  // namespace zeroth
