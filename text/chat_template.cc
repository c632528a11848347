#include "text/chat_template.h"

#include "core/error.h"

namespace zeroth {
namespace {

constexpr const char* kBegin = "<｜begin▁of▁sentence｜>";  // DeepSeek's
constexpr const char* kEnd = "<｜end▁of▁sentence｜>";
constexpr const char* kUser = "<｜User｜>";
constexpr const char* kAssistant = "<｜Assistant｜>";
constexpr const char* kNames = "chatml, llama3, deepseek, mistral, plain";

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string trimmed(std::string_view text) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  return std::string(text);
}

// The literal system text of a ChatML template: what stands between the mark and its end without
// leaving the string ("' + message" would be the user's own).
std::string literal_system(std::string_view jinja) {
  constexpr std::string_view kMark = "<|im_start|>system";
  for (size_t at = jinja.find(kMark); at != std::string_view::npos;
       at = jinja.find(kMark, at + 1)) {
    std::string_view rest = jinja.substr(at + kMark.size());
    if (rest.starts_with("\\n")) {
      rest.remove_prefix(2);
    } else if (rest.starts_with("\n")) {
      rest.remove_prefix(1);
    } else {
      continue;
    }
    const size_t end = rest.find("<|im_end|>");
    if (end == std::string_view::npos) continue;
    const std::string_view text = rest.substr(0, end);
    if (!text.empty() && !has(text, "'") && !has(text, "\"") && !has(text, "}}")) {
      return std::string(text);
    }
  }
  return "";
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

std::string chatml(std::span<const ChatTurn> turns, const std::string& default_system) {
  std::string out;
  if (!default_system.empty() && (turns.empty() || turns.front().role != "system")) {
    out = "<|im_start|>system\n" + default_system + "<|im_end|>\n";
  }
  for (const ChatTurn& turn : turns) {
    out += "<|im_start|>" + turn.role + "\n" + turn.content + "<|im_end|>\n";
  }
  return out + "<|im_start|>assistant\n";
}

std::string llama3(std::span<const ChatTurn> turns, const std::string& system_prefix) {
  const auto part = [](const std::string& role, const std::string& content) {
    return "<|start_header_id|>" + role + "<|end_header_id|>\n\n" + content + "<|eot_id|>";
  };
  std::string out = "<|begin_of_text|>";
  const std::string system = take_system(turns);
  if (!system.empty() || !system_prefix.empty()) {
    out += part("system", system_prefix + trimmed(system));
  }
  for (const ChatTurn& turn : turns) out += part(turn.role, trimmed(turn.content));
  return out + "<|start_header_id|>assistant<|end_header_id|>\n\n";
}

std::string deepseek(std::span<const ChatTurn> turns, bool words, const std::string& think) {
  std::string out = kBegin;
  const std::string system = take_system(turns);
  out += words && !system.empty() ? system + "\n\n" : system;
  for (const ChatTurn& turn : turns) {
    if (turn.role == "user") {
      out += words ? "User: " + turn.content + "\n\n" : kUser + turn.content;
    } else if (turn.role == "assistant") {
      out += (words ? "Assistant: " : kAssistant) + turn.content + kEnd;
    } else {
      out += turn.content;
    }
  }
  return out + (words ? "Assistant:" : kAssistant + think);
}

std::string mistral(std::span<const ChatTurn> turns, const std::string& open,
                    const std::string& close) {
  std::string out = "<s>";
  // Mistral has no system turn: its text stands in front of the first question.
  std::string system = take_system(turns);
  const bool spaced = close.starts_with(" ") || open.ends_with(" ");
  for (const ChatTurn& turn : turns) {
    if (turn.role == "assistant") {
      out += (spaced ? " " : "") + turn.content + "</s>";
      continue;
    }
    out += open + (system.empty() ? "" : system + "\n\n") + turn.content + close;
    system.clear();
  }
  return out;
}

}  // namespace

ChatTemplate ChatTemplate::named(const std::string& name) {
  for (const char* known : {"chatml", "llama3", "deepseek", "mistral", "plain"}) {
    if (name != known) continue;
    ChatTemplate out;
    out.name_ = name;
    return out;
  }
  fail_usage("chat template \"" + name + "\" is not known", std::string("use one of ") + kNames);
}

ChatTemplate ChatTemplate::recognise(std::string_view jinja, const std::string& source) {
  if (trimmed(jinja).empty()) return named("plain");
  if (has(jinja, "<|im_start|>")) {
    ChatTemplate out = named("chatml");
    out.default_system_ = literal_system(jinja);
    return out;
  }
  if (has(jinja, "<|start_header_id|>")) {
    ChatTemplate out = named("llama3");
    if (has(jinja, "Cutting Knowledge Date: December 2023")) {
      out.system_prefix_ = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
    }
    return out;
  }
  const bool marks = has(jinja, kUser) && has(jinja, kAssistant);
  if (marks || (has(jinja, "'User: '") && has(jinja, "'Assistant:'"))) {
    ChatTemplate out = named("deepseek");
    out.words_ = !marks;
    const std::string opened = std::string(kAssistant) + "<think>";
    if (has(jinja, opened + "\\n") || has(jinja, opened + "\n")) {
      out.think_ = "<think>\n";
    } else if (has(jinja, opened)) {
      out.think_ = "<think>";
    }
    return out;
  }
  if (has(jinja, "[INST]")) {
    ChatTemplate out = named("mistral");
    out.open_ = has(jinja, "[INST] ") ? "[INST] " : "[INST]";
    out.close_ = has(jinja, " [/INST]") ? " [/INST]" : "[/INST]";
    return out;
  }
  fail(source + ": the chat template \"" + trimmed(jinja).substr(0, 60) + "..\" is not known",
       std::string("name the nearest with template=NAME (") + kNames +
           "), or give the whole text as template, with {question} in it");
}

std::string ChatTemplate::render(std::span<const ChatTurn> turns) const {
  check_roles(turns);
  if (name_ == "chatml") return chatml(turns, default_system_);
  if (name_ == "llama3") return llama3(turns, system_prefix_);
  if (name_ == "deepseek") return deepseek(turns, words_, think_);
  if (name_ == "mistral") return mistral(turns, open_, close_);
  std::string joined;
  for (const ChatTurn& turn : turns) joined += (joined.empty() ? "" : "\n\n") + turn.content;
  return joined + "\n";
}

std::string ChatTemplate::question_text() const {
  const ChatTurn turn{"user", "{question}"};
  return render({&turn, 1});
}

}  // namespace zeroth
