#include "stages/sft_rows.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/json_text.h"
#include "tasks/rows.h"
#include "text/token_spans.h"

namespace zeroth {
namespace {

const char* const kRowKinds =
    "a row holds \"messages\" (a list of {\"role\", \"content\"}), \"prompt\" and \"completion\" "
    "(both texts or both lists of messages), or \"text\"";

const Json* member(const Json& row, const char* name) {
  const auto found = row.find(name);
  return found == row.end() || found->is_null() ? nullptr : &*found;
}

// {"from", "value"} of ShareGPT as {"role", "content"}.
Json with_roles(Json messages) {
  for (Json& message : messages) {
    if (!message.is_object() || message.contains("role") || !message.contains("from")) continue;
    const std::string from =
        message.at("from").is_string() ? message.at("from").get<std::string>() : "";
    message["role"] = from == "human" ? "user" : from == "gpt" ? "assistant" : from;
    message["content"] = message.value("value", Json());
    message.erase("from");
    message.erase("value");
  }
  return messages;
}

Json joined(const Json& prompt, const Json& completion) {
  Json all = prompt;
  for (const Json& message : completion) all.push_back(message);
  return all;
}

size_t common_prefix(const std::vector<TokenId>& a, const std::vector<TokenId>& b) {
  return std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
}

}  // namespace

RowEncoder::RowEncoder(const RowsConfig& data, const std::string& loss_on,
                       const PromptConfig& prompt, const Tokenizer& tokenizer)
    : data_(data),
      loss_on_(loss_on),
      tokenizer_(tokenizer),
      bos_(prompt.bos),
      prompts_(tokenizer, prompt.bos) {
  const Json& texts = tokenizer.special().texts;
  end_text_ = texts.value("eos_token", std::string());
  if (end_text_.empty() && !tokenizer.eos_ids().empty()) {
    end_text_ = tokenizer.token_bytes(tokenizer.eos_ids().front());
  }
  std::string source = "the checkpoint's chat template";
  std::string jinja = tokenizer.chat_template();
  if (!data.chat_template.empty()) {
    source = data.chat_template;
    jinja = read_file(data.chat_template);
  }
  if (jinja.find_first_not_of(" \t\r\n") == std::string::npos) return;
  const jinja::DateTime date =
      prompt.date.empty() ? jinja::current_date() : jinja::parse_date(prompt.date, "prompt.date");
  template_ = std::make_unique<ChatTemplate>(jinja, texts, date, source);
}

LearntRow RowEncoder::encode(const Json& row, const std::string& place) const {
  const Json* prompt = member(row, "prompt");
  const Json* messages = member(row, "messages");
  if (!messages) messages = member(row, "conversations");
  const Json* text = member(row, "text");
  LearntRow out;
  if (prompt) {
    out = encode_completion(row, place);
  } else if (messages) {
    out = encode_messages(with_roles(*messages), row, loss_on_ != "all", place);
    if (loss_on_ == "completion") {
      fail(place + ": data.loss_on = completion, and the row has messages without a prompt",
           "use data.loss_on = assistant or auto, or rows with prompt and completion");
    }
  } else if (text && text->is_string()) {
    if (loss_on_ != "all" && loss_on_ != "auto") {
      fail(place + ": data.loss_on = " + loss_on_ + ", and the row is a text without either",
           "use data.loss_on = all or auto, or rows with prompt and completion");
    }
    out = encode_text(text->get<std::string>());
  } else {
    fail(place + ": nothing to learn from", kRowKinds);
  }
  return out;
}

std::string RowEncoder::with_end(const std::string& text) const {
  if (end_text_.empty()) {
    fail("the tokenizer names no end-of-text token, so a response would never end",
         "give it an eos_token in tokenizer_config.json or an eos_token_id in "
         "generation_config.json");
  }
  return text.ends_with(end_text_) ? text : text + end_text_;
}

LearntRow RowEncoder::encode_text(const std::string& text) const {
  LearntRow out;
  out.tokens = prompts_.encode(with_end(text), false);
  out.learnt.assign(out.tokens.size(), 1);
  return out;
}

LearntRow RowEncoder::encode_completion(const Json& row, const std::string& place) const {
  const Json& prompt = row.at("prompt");
  const Json* completion = member(row, "completion");
  if (!completion || prompt.type() != completion->type() ||
      !(prompt.is_string() || prompt.is_array())) {
    fail(place + ": \"prompt\" and \"completion\" are not both texts or both lists of messages",
         kRowKinds);
  }
  LearntRow out;
  std::vector<TokenId> front;
  if (prompt.is_string()) {
    if (loss_on_ == "assistant" || loss_on_ == "turns") {
      fail(place + ": data.loss_on = " + loss_on_ + ", and prompt and completion are texts",
           "use data.loss_on = completion or auto");
    }
    const auto text = prompt.get<std::string>();
    front = prompts_.encode(text, false);
    out.tokens = prompts_.encode(with_end(text + completion->get<std::string>()), false);
    out.learnt.assign(out.tokens.size(), 1);
  } else {
    const Json asked = with_roles(prompt);
    front = prompts_.encode(render(asked, row, true, place), true);
    out = encode_messages(joined(asked, with_roles(*completion)), row,
                          loss_on_ == "assistant" || loss_on_ == "turns", place);
  }
  if (loss_on_ != "all" && loss_on_ != "turns") {
    std::fill_n(out.learnt.begin(), common_prefix(front, out.tokens), 0);
  }
  return out;
}

std::string RowEncoder::render(const Json& messages, const Json& row, bool ask,
                               const std::string& place,
                               std::vector<jinja::GenerationSpan>* spans) const {
  if (!template_) {
    fail(place + ": the row has messages, and the checkpoint has no chat template",
         "name one in data.chat_template, or write rows with prompt and completion as texts");
  }
  Conversation conversation;
  conversation.messages = messages;
  conversation.add_generation_prompt = ask;
  conversation.variables = data_.chat_variables;
  if (const Json* own = member(row, "chat_template_kwargs")) {
    if (!own->is_object()) {
      fail(place + ": \"chat_template_kwargs\" is no object",
           "write an object of variables for the chat template");
    }
    conversation.variables.update(*own);
  }
  if (const Json* tools = member(row, "tools")) {
    conversation.tools =
        tools->is_string() ? try_parse_json(tools->get<std::string>()).value_or(Json()) : *tools;
    if (!conversation.tools.is_array()) {
      fail(place + ": \"tools\" is no list of JSON schemas",
           "write a list, or a text that holds one");
    }
  }
  try {
    return template_->render(conversation, spans);
  } catch (const std::exception& error) {
    fail(place + ": " + error.what(), "mend the row's messages, or leave it out");
  }
}

LearntRow RowEncoder::encode_messages(const Json& messages, const Json& row, bool assistant_only,
                                      const std::string& place) const {
  if (!messages.is_array() || messages.empty()) {
    fail(place + ": \"messages\" is no list of messages, or an empty one", kRowKinds);
  }
  std::vector<jinja::GenerationSpan> generated;
  const std::string text = render(messages, row, false, place, &generated);
  LearntRow out;
  out.tokens = prompts_.encode(text, true);
  out.learnt.assign(out.tokens.size(), 1);
  if (assistant_only) learn_assistant(messages, row, text, generated, out, place);
  return out;
}

void RowEncoder::learn_assistant(const Json& messages, const Json& row, const std::string& text,
                                 const std::vector<jinja::GenerationSpan>& generated,
                                 LearntRow& out, const std::string& place) const {
  std::vector<TextSpan> spans;
  if (!generated.empty()) {
    const std::vector<size_t> offsets = code_point_offsets(text);
    for (const auto& span : generated) spans.push_back({offsets[span.begin], offsets[span.end]});
  } else {
    Json front = Json::array();
    for (const Json& message : messages) {
      const bool assistant = message.is_object() && message.value("role", Json()) == "assistant";
      const std::string asked = assistant ? render(front, row, true, place) : std::string();
      front.push_back(message);
      if (!assistant) continue;
      std::string answered =
          front.size() == messages.size() ? text : render(front, row, false, place);
      if (!answered.starts_with(asked) || !text.starts_with(answered)) {
        fail(place +
                 ": the chat template writes an assistant's message otherwise when others follow, "
                 "so where it stands is not known",
             "mark it with {% generation %} in a template of your own (data.chat_template), or "
             "write "
             "rows with prompt and completion");
      }
      // What a template writes behind the end token belongs to the turn that follows.
      const size_t end = end_text_.empty() ? std::string::npos : answered.rfind(end_text_);
      if (end != std::string::npos && end >= asked.size()) answered.resize(end + end_text_.size());
      spans.push_back({asked.size(), answered.size()});
    }
  }
  const std::vector<TokenId> plain = bos_ == "auto" ? out.tokens : tokenizer_.encode(text);
  const auto inside = tokens_in_spans(tokenizer_, text, plain, spans);
  if (!inside) {
    fail(place +
             ": the tokenizer rewrites this text, so which tokens are the assistant's is not known",
         "write the row with prompt and completion, or use data.loss_on = all");
  }
  if (std::count(inside->begin(), inside->end(), 1) == 0) {
    fail(place + ": no token of an assistant's message",
         "leave the row out, or use data.loss_on = all");
  }
  // prompt.bos may have put one token in front of the text's, or taken it away.
  const auto moved = static_cast<int64_t>(out.tokens.size()) - static_cast<int64_t>(plain.size());
  for (size_t i = 0; i < out.learnt.size(); ++i) {
    const int64_t from = static_cast<int64_t>(i) - moved;
    out.learnt[i] = from >= 0 && from < static_cast<int64_t>(inside->size()) ? (*inside)[from] : 0;
  }
}

bool cut_row(LearntRow& row, int64_t max_length, const std::string& truncation) {
  const auto length = static_cast<int64_t>(row.tokens.size());
  if (max_length <= 0 || length <= max_length) return false;
  const int64_t from = truncation == "keep_end" ? length - max_length : 0;
  row.tokens.assign(row.tokens.begin() + from, row.tokens.begin() + from + max_length);
  row.learnt.assign(row.learnt.begin() + from, row.learnt.begin() + from + max_length);
  return true;
}

EncodedRows read_sft_rows(const std::string& path, const RowEncoder& encoder, int64_t max_length,
                          const std::string& truncation) {
  EncodedRows out;
  for_each_row(path, [&](const Json& json, const std::string& place) {
    LearntRow row = encoder.encode(json, place);
    out.counts.cut += cut_row(row, max_length, truncation);
    const bool any = std::count(row.learnt.begin(), row.learnt.end(), 1) > 0;
    if (!out.counts.keeps(any || max_length <= 0, place)) return;
    out.targets += row.targets();
    if (row.targets() == 0 && out.first_without.empty()) out.first_without = place;
    out.rows.push_back(std::move(row));
  });
  out.counts.check_some(path, "rows, none with a token to learn", kRowKinds);
  if (out.targets == 0) {
    fail(path + ": " + std::to_string(out.counts.read) +
             " rows, none with a learnt token that another precedes",
         "raise data.max_length, or look at " + out.first_without);
  }
  return out;
}

}  // namespace zeroth
