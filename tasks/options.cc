#include "tasks/options.h"

#include <optional>

#include "text/chat_template.h"

namespace zeroth {
namespace {

constexpr std::string_view kQuestion = "{question}";

constexpr std::string_view kR1Zero =
    "The following is a conversation between a User and an Assistant. The User asks a question and "
    "the Assistant "
    "solves it. The Assistant first works through the problem in its mind and only then gives the "
    "answer. The "
    "reasoning stands between <think> and </think> and the answer between <answer> and </answer>, "
    "that is, <think> "
    "reasoning here </think> <answer> answer here </answer>. User: {question}. Assistant:";

// With a chat template, its shape; "chat:TEXT" is a checkpoint's own template in Jinja.
std::optional<ChatTemplate> chat_template_of(const std::string& name) {
  if (name == "chatml" || name == "llama3" || name == "deepseek" || name == "mistral") {
    return ChatTemplate::named(name);
  }
  if (!name.starts_with("chat:")) return std::nullopt;
  return ChatTemplate::recognise(std::string_view(name).substr(5), "the checkpoint's tokenizer");
}

std::string template_text(const std::string& name) {
  if (name == "bare") return std::string(kQuestion);
  if (name == "plain") return std::string(kQuestion) + "\n";
  if (name == "r1_zero") return std::string(kR1Zero);
  if (name == "r1_zero_think") return std::string(kR1Zero) + " <think>";
  if (const auto chat = chat_template_of(name)) return chat->question_text();
  if (name == "chat") {
    fail_usage("template \"chat\" is the checkpoint's own, and no checkpoint is at hand here",
               "name the template: chatml, llama3, deepseek or mistral");
  }
  if (name.find(kQuestion) == std::string::npos) {
    fail_usage(
        "template \"" + name + "\" is no known name and does not contain {question}",
        "use bare, plain, r1_zero, r1_zero_think, chatml, llama3, deepseek, mistral, chat, or a "
        "text with {question}");
  }
  return name;
}

}  // namespace

std::string ResponseOptions::render(std::string_view question) const {
  std::string text = template_text(prompt_template);
  // Only the template's own place is filled: a question that contains "{question}" stays as it is.
  text.replace(text.find(kQuestion), kQuestion.size(), question);
  return text;
}

std::string ResponseOptions::render_messages(const Json& messages, const std::string& place) const {
  std::string joined;
  std::vector<ChatTurn> turns;
  for (const Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string() ||
        !message.contains("content") || !message["content"].is_string()) {
      fail(place +
               ": a chat message without text in role and content: " + message.dump().substr(0, 80),
           "messages look like {\"role\": \"user\", \"content\": \"..\"}");
    }
    const auto content = message["content"].get<std::string>();
    joined += (joined.empty() ? "" : "\n\n") + content;
    turns.push_back({message["role"].get<std::string>(), content});
  }
  const auto chat = chat_template_of(prompt_template);
  return chat ? chat->render(turns) : render(joined);
}

std::string ResponseOptions::wrap_answer(const std::string& answer) const {
  return std::string(think_opened() ? "" : "<think>") + (allow_empty_think ? "" : ".") +
         "</think><answer>" + answer + (stop_at_answer ? "" : "</answer>");
}

bool ResponseOptions::think_opened() const {
  return trim(template_text(prompt_template)).ends_with("<think>");
}

FormatRules ResponseOptions::format_rules() const {
  return {.think_opened = think_opened(),
          .empty_think = allow_empty_think,
          .stopped_at_answer = stop_at_answer};
}

std::vector<std::string> ResponseOptions::stop_strings() const {
  if (!stop_at_answer) return {};
  return {"</answer>"};
}

std::vector<Verdict> ResponseOptions::verdicts(Verdict accuracy, std::string_view completion,
                                               FinishReason finish) const {
  const FormatRules rules = format_rules();
  const ResponseParts parts = split_response(completion, rules);
  accuracy.weight = accuracy_weight;
  add_thinking_facts(!trim(parts.think).empty(), accuracy.score >= 1, accuracy.info);
  Verdict format = check_format(completion, rules, finish);
  format.weight = format_weight;
  return {std::move(accuracy), std::move(format)};
}

void add_thinking_facts(bool thinks, bool right, Json& info) {
  info["thinks"] = thinks ? 1 : 0;
  info["direct"] = thinks ? 0 : 1;
  info["thinks_right"] = thinks && right ? 1 : 0;
  info["direct_right"] = !thinks && right ? 1 : 0;
}

uint64_t stable_hash(std::string_view key) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : key) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3u;
  }
  // FNV's low bits are weak; the finaliser of MurmurHash3 spreads every input bit over all of them.
  hash ^= hash >> 33;
  hash *= 0xff51afd7ed558ccdu;
  hash ^= hash >> 33;
  hash *= 0xc4ceb9fe1a85ec53u;
  return hash ^ (hash >> 33);
}

bool is_held_out(std::string_view key, int every) {
  return every > 0 && stable_hash(key) % static_cast<uint64_t>(every) == 0;
}

}  // namespace zeroth
