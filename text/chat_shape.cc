#include "text/chat_shape.h"

#include "core/error.h"

namespace zeroth {
namespace {

constexpr const char* kBegin = "<｜begin▁of▁sentence｜>";  // DeepSeek's
constexpr const char* kEnd = "<｜end▁of▁sentence｜>";
constexpr const char* kUser = "<｜User｜>";
constexpr const char* kAssistant = "<｜Assistant｜>";

std::string trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// System text and the turns behind it.
std::string take_system(std::span<const ChatTurn>& turns) {
  std::string system;
  while (!turns.empty() && turns.front().role == "system") {
    system += (system.empty() ? "" : "\n\n") + turns.front().content;
    turns = turns.subspan(1);
  }
  return system;
}

void check_roles(std::span<const ChatTurn> turns) {
  for (const ChatTurn& turn : turns) {
    if (turn.role == "system" || turn.role == "user" || turn.role == "assistant") continue;
    fail("a chat turn has the role \"" + turn.role + "\"", "use system, user or assistant");
  }
}

std::string chatml(std::span<const ChatTurn> turns) {
  std::string out;
  for (const ChatTurn& turn : turns) {
    out += "<|im_start|>" + turn.role + "\n" + turn.content + "<|im_end|>\n";
  }
  return out + "<|im_start|>assistant\n";
}

std::string llama3(std::span<const ChatTurn> turns) {
  const auto part = [](const std::string& role, const std::string& content) {
    return "<|start_header_id|>" + role + "<|end_header_id|>\n\n" + content + "<|eot_id|>";
  };
  std::string out = "<|begin_of_text|>";
  const std::string system = take_system(turns);
  if (!system.empty()) out += part("system", trimmed(system));
  for (const ChatTurn& turn : turns) out += part(turn.role, trimmed(turn.content));
  return out + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

std::string deepseek(std::span<const ChatTurn> turns) {
  std::string out = kBegin + take_system(turns);
  for (const ChatTurn& turn : turns) {
    if (turn.role == "user") {
      out += kUser + turn.content;
    } else if (turn.role == "assistant") {
      out += kAssistant + turn.content + kEnd;
    } else {
      out += turn.content;
    }
  }
  return out + kAssistant;
}

std::string mistral(std::span<const ChatTurn> turns) {
  std::string out = "<s>";
  // Mistral has no system turn: its text stands in front of the first question.
  std::string system = take_system(turns);
  for (const ChatTurn& turn : turns) {
    if (turn.role == "assistant") {
      out += " " + turn.content + "</s>";
      continue;
    }
    out += "[INST] " + (system.empty() ? "" : system + "\n\n") + turn.content + " [/INST]";
    system.clear();
  }
  return out;
}

}  // namespace

bool ChatShape::is_name(std::string_view name) {
  return name == "chatml" || name == "llama3" || name == "deepseek" || name == "mistral";
}

ChatShape ChatShape::named(const std::string& name) {
  if (!is_name(name)) {
    fail_usage("chat template \"" + name + "\" is not known",
               "use one of chatml, llama3, deepseek, mistral");
  }
  ChatShape out;
  out.name_ = name;
  return out;
}

std::string ChatShape::render(std::span<const ChatTurn> turns) const {
  check_roles(turns);
  if (name_ == "chatml") return chatml(turns);
  if (name_ == "llama3") return llama3(turns);
  if (name_ == "deepseek") return deepseek(turns);
  return mistral(turns);
}

}  // namespace zeroth
