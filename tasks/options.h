// What every text task shares: how the question is put, how the response is read, what the parts
// weigh.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "rewards/format.h"

namespace zeroth {

// Prompt templates by name; any other text is a template itself and must contain "{question}".
//   bare           the question alone
//   plain          the question and a line feed
//   r1_zero        a conversation that asks for <think> and <answer> blocks, ending with
//   "Assistant:" r1_zero_think  the same, with the opening <think> already there chatml, llama3,
//   deepseek, mistral   one user turn, ending where the assistant starts (text/chat_shape.h)
//   chat           the checkpoint's own, which is run (text/chat_template.h); known only where
//                  there is a checkpoint: rl/chat.h turns it into "chat:" and own_chat_template()
struct ResponseOptions {
  std::string prompt_template = "plain";
  double accuracy_weight = 1;
  double format_weight = 0.1;
  bool stop_at_answer = false;
  bool allow_empty_think = true;
  std::string system;
  Json chat_variables = Json::object();

  template <class V>
  void fields(V& v) {
    v("template", prompt_template,
      "bare, plain, r1_zero, r1_zero_think, chatml, llama3, deepseek, mistral, chat (the "
      "checkpoint's own), or a text with {question}");
    v("accuracy_weight", accuracy_weight, "weight of the accuracy reward", Range{-1000, 1000});
    v("format_weight", format_weight, "weight of the format reward", Range{-1000, 1000});
    v("stop_at_answer", stop_at_answer,
      "end a completion at </answer> (for models without an end-of-text habit)");
    v("allow_empty_think", allow_empty_think, "an empty think block is well formed");
    v("system", system, "with a chat template: the text of a system turn in front of the question");
    v("chat_variables", chat_variables,
      "with template chat: what the template may ask for, such as {\"enable_thinking\": false}");
  }

  // The prompt for a question. Throws a usage Error when the template lacks {question}.
  std::string render(std::string_view question) const;
  // The prompt for chat messages [{"role", "content"}, ..] and the tools they may call (JSON
  // schemas; null: none): with a chat template one turn each, else the contents joined by blank
  // lines are the question. Malformed messages are an Error that names `place`, and so are tools
  // where no template can put them.
  std::string render_messages(const Json& messages, const Json& tools,
                              const std::string& place) const;
  // What a chat template puts between the text of an assistant's turn and that of the message of
  // `role` behind it, and between that and the assistant's next turn; empty for other templates.
  // Throws Error for a role that the template does not know.
  struct Frame {
    std::string lead, tail;
  };
  Frame frame(const std::string& role) const;
  // Whether a chat template makes the prompts.
  bool is_chat() const;
  // A well-formed response with this answer and empty thinking.
  std::string wrap_answer(const std::string& answer) const;
  // True when the rendered prompt ends with an opening <think>.
  bool think_opened() const;
  FormatRules format_rules() const;
  // What most tasks return: the accuracy verdict with its weight and the thinking facts, and the
  // format verdict with its weight.
  std::vector<Verdict> verdicts(Verdict accuracy, std::string_view completion,
                                FinishReason finish) const;
  std::vector<std::string> stop_strings() const;
};

// The template "chat" of one checkpoint, as a value of ResponseOptions::prompt_template: its Jinja
// text, the texts of its special tokens (an object), and the date that it sees. Throws
// jinja::TemplateError for a template that cannot be run here.
std::string own_chat_template(const std::string& jinja, const Json& special_tokens,
                              const std::string& date);

// Adds the facts "thinks", "direct", "thinks_right" and "direct_right" (0 or 1): accuracy with and
// without thinking, whose difference decides whether training makes thinking grow or die out.
void add_thinking_facts(bool thinks, bool right, Json& info);

// 64 bits of `key` (FNV-1a with a final mix): the same on every machine and in every version,
// because splits hang on it.
uint64_t stable_hash(std::string_view key);

// The split of a problem by the hash of what makes it one: one key in `every` is held out; 0 holds
// none out.
bool is_held_out(std::string_view key, int every);

}  // namespace zeroth
