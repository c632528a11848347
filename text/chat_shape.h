// Prompts of the usual shapes by name, for a checkpoint whose own chat template is missing or not
// wanted. (A checkpoint's own template is run: text/chat_template.h.)
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
class ChatShape {
 public:
  static bool is_name(std::string_view name);
  // "chatml", "llama3", "deepseek" or "mistral". Throws a usage Error that lists them.
  static ChatShape named(const std::string& name);

  // The text up to where the assistant answers. Throws Error for a role that is none of the three.
  std::string render(std::span<const ChatTurn> turns) const;

 private:
  std::string name_;
};

}  // namespace zeroth
