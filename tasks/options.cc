#include "tasks/options.h"

#include <memory>
#include <mutex>

#include "core/error.h"
#include "text/chat_shape.h"
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

constexpr std::string_view kOwn = "chat:";

Json user_turn(std::string_view question) {
  return Json::array({{{"role", "user"}, {"content", std::string(question)}}});
}

std::shared_ptr<const ChatTemplate> parse_own_template(const std::string& name) {
  const Json parts = parse_json(name.substr(kOwn.size()), "the chat template");
  const std::string source = "the checkpoint's chat template";
  return std::make_shared<ChatTemplate>(
      parts.at("template").get<std::string>(), parts.at("special_tokens"),
      jinja::parse_date(parts.at("date").get<std::string>(), "the date"), source);
}

// Parsed once: every problem asks for it.
std::shared_ptr<const ChatTemplate> own_template(const std::string& name) {
  static std::mutex mutex;
  static std::vector<std::pair<std::string, std::shared_ptr<const ChatTemplate>>> known;
  const std::lock_guard lock(mutex);
  for (const auto& [text, parsed] : known) {
    if (text == name) return parsed;
  }
  if (known.size() >= 16) known.erase(known.begin());
  return known.emplace_back(name, parse_own_template(name)).second;
}

bool is_own(const std::string& name) { return name.starts_with(kOwn); }

std::vector<ChatTurn> plain_turns(const Json& messages, const std::string& place) {
  std::vector<ChatTurn> turns;
  for (const Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string() ||
        !message.contains("content") || !message["content"].is_string()) {
      fail(place +
               ": a chat message without text in role and content: " + message.dump().substr(0, 80),
           "messages look like {\"role\": \"user\", \"content\": \"..\"}");
    }
    turns.push_back({message["role"].get<std::string>(), message["content"].get<std::string>()});
  }
  return turns;
}

std::string template_text(const std::string& name) {
  if (name == "bare") return std::string(kQuestion);
  if (name == "plain") return std::string(kQuestion) + "\n";
  if (name == "r1_zero") return std::string(kR1Zero);
  if (name == "r1_zero_think") return std::string(kR1Zero) + " <think>";
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

std::string own_chat_template(const std::string& jinja, const Json& special_tokens,
                              const std::string& date) {
  std::string name(kOwn);
  name += Json{{"template", jinja}, {"special_tokens", special_tokens}, {"date", date}}.dump();
  own_template(name);
  return name;
}

bool ResponseOptions::is_chat() const {
  return is_own(prompt_template) || ChatShape::is_name(prompt_template);
}

std::string ResponseOptions::render(std::string_view question) const {
  if (is_chat()) return render_messages(user_turn(question), Json(), "the question");
  if (!system.empty()) {
    fail_usage("system is given, and template \"" + prompt_template + "\" has no system turn",
               "use a chat template, or write the text into the template");
  }
  std::string text = template_text(prompt_template);
  // Only the template's own place is filled: a question that contains "{question}" stays as it is.
  text.replace(text.find(kQuestion), kQuestion.size(), question);
  return text;
}

std::string ResponseOptions::render_messages(const Json& messages, const Json& tools,
                                             const std::string& place) const {
  Json all = messages;
  const bool has_system = !messages.empty() && messages.front().is_object() &&
                          messages.front().value("role", Json()) == "system";
  if (!system.empty() && !has_system) {
    const Json first = {{"role", "system"}, {"content", system}};
    all.insert(all.begin(), first);
  }
  if (is_own(prompt_template)) {
    Conversation conversation;
    conversation.messages = std::move(all);
    conversation.tools = tools;
    conversation.variables = chat_variables;
    try {
      return own_template(prompt_template)->render(conversation);
    } catch (const jinja::TemplateError& error) {
      fail(place + ": " + error.what(), "name another template, or mend the row");
    }
  }
  if (!tools.is_null() && !tools.empty()) {
    fail(place + ": tools, and template \"" + prompt_template + "\" has no place for them",
         "use template chat with a checkpoint whose chat template knows tools");
  }
  const std::vector<ChatTurn> turns = plain_turns(all, place);
  if (ChatShape::is_name(prompt_template)) return ChatShape::named(prompt_template).render(turns);
  std::string joined;
  for (const ChatTurn& turn : turns) joined += (joined.empty() ? "" : "\n\n") + turn.content;
  return render(joined);
}

ResponseOptions::Frame ResponseOptions::frame(const std::string& role) const {
  if (!is_chat()) return {};
  const std::string reply = "ZEROTH-REPLY", words = "ZEROTH-WORDS";
  const Json messages = {{{"role", "user"}, {"content", "1 + 1?"}},
                         {{"role", "assistant"}, {"content", reply}},
                         {{"role", role}, {"content", words}}};
  const std::string text = render_messages(messages, Json(), "a message of role " + role);
  const size_t at = text.find(reply), next = text.find(words);
  if (at == std::string::npos || next == std::string::npos || next < at) {
    fail("the chat template leaves out a message of role \"" + role + "\" behind a reply",
         "name another role, or another template");
  }
  const size_t begin = at + reply.size();
  return {text.substr(begin, next - begin), text.substr(next + words.size())};
}

std::string ResponseOptions::wrap_answer(const std::string& answer) const {
  return std::string(think_opened() ? "" : "<think>") + (allow_empty_think ? "" : ".") +
         "</think><answer>" + answer + (stop_at_answer ? "" : "</answer>");
}

bool ResponseOptions::think_opened() const {
  const std::string text = is_chat() ? render("1 + 1?") : template_text(prompt_template);
  return trim(text).ends_with("<think>");
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
