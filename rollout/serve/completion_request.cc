#include "rollout/serve/completion_request.h"

#include <cmath>

#include "core/error.h"
#include "rollout/sample_rules.h"
#include "text/prompt.h"

namespace zeroth::serve {
namespace {

constexpr int kMaxStops = 16;
constexpr size_t kMaxStopBytes = 1000;

[[noreturn]] void refuse(const std::string& field, const std::string& why) {
  throw BadRequest{400, "'" + field + "' " + why, field};
}

// Null and absent are the same.
const Json* find(const Json& body, const char* name) {
  const auto found = body.find(name);
  return found == body.end() || found->is_null() ? nullptr : &*found;
}

double number(const Json& body, const char* name, double otherwise, double least, double most) {
  const Json* value = find(body, name);
  if (!value) return otherwise;
  if (!value->is_number()) refuse(name, "is no number");
  const double got = value->get<double>();
  if (!(got >= least && got <= most)) {
    char range[80];
    std::snprintf(range, sizeof range, "is not from %.10g to %.10g", least, most);
    refuse(name, range);
  }
  return got;
}

int64_t whole(const Json& body, const char* name, int64_t otherwise, int64_t least, int64_t most) {
  const Json* value = find(body, name);
  if (!value) return otherwise;
  const double got = number(body, name, 0, static_cast<double>(least), static_cast<double>(most));
  if (got != std::floor(got)) refuse(name, "is no whole number");
  return value->is_number_float() ? static_cast<int64_t>(got) : value->get<int64_t>();
}

bool flag(const Json& body, const char* name) {
  const Json* value = find(body, name);
  if (value && !value->is_boolean()) refuse(name, "is neither true nor false");
  return value && value->get<bool>();
}

uint64_t seed_of(const Json& body, uint64_t otherwise) {
  const Json* value = find(body, "seed");
  if (!value) return otherwise;
  if (!value->is_number_integer()) refuse("seed", "is no whole number");
  return value->is_number_unsigned() ? value->get<uint64_t>()
                                     : static_cast<uint64_t>(value->get<int64_t>());
}

std::vector<std::string> stops_of(const Json& body) {
  std::vector<std::string> out;
  const Json* value = find(body, "stop");
  if (!value) return out;
  const auto add = [&](const Json& one) {
    if (!one.is_string() || one.get_ref<const std::string&>().empty() ||
        one.get_ref<const std::string&>().size() > kMaxStopBytes)
      refuse("stop", "is no text of 1 to 1000 bytes, and no list of such");
    out.push_back(one.get<std::string>());
  };
  if (!value->is_array()) {
    add(*value);
    return out;
  }
  if (value->size() > kMaxStops) refuse("stop", "has more than 16 elements");
  for (const Json& one : *value) add(one);
  return out;
}

void refuse_unsupported(const Json& body, bool chat) {
  for (const char* name : {"presence_penalty", "frequency_penalty"}) {
    if (number(body, name, 0, -2, 2) != 0) refuse(name, "is not supported; leave it at 0");
  }
  if (const Json* bias = find(body, "logit_bias"); bias && !bias->empty())
    refuse("logit_bias", "is not supported");
  if (flag(body, "echo")) refuse("echo", "is not supported");
  if (const Json* suffix = find(body, "suffix"); suffix && *suffix != "")
    refuse("suffix", "is not supported");
  const Json* best = find(body, "best_of");
  if (best && *best != body.value("n", Json(1))) refuse("best_of", "is not supported");
  if (const Json* format = find(body, "response_format");
      format && format->is_object() && format->value("type", Json("text")) != "text")
    refuse("response_format", "is not supported but for text");
  if (chat && whole(body, "top_logprobs", 0, 0, 20) > 0)
    refuse("top_logprobs", "is not supported above 0; logprobs gives those of the sampled tokens");
}

bool wants_logprobs(const Json& body, bool chat) {
  if (chat) return flag(body, "logprobs");
  const Json* value = find(body, "logprobs");
  if (!value) return false;
  if (value->is_boolean()) return value->get<bool>();
  if (whole(body, "logprobs", 0, 0, 5) > 1)
    refuse("logprobs", "is not supported above 1; it gives those of the sampled tokens");
  return true;
}

std::vector<TokenId> ids_of(const Json& list, const char* name) {
  std::vector<TokenId> out;
  for (const Json& id : list) {
    if (!id.is_number_integer()) refuse(name, "mixes token ids with something else");
    const int64_t value = id.get<int64_t>();
    if (value < 0 || value > INT32_MAX) refuse(name, "holds an id outside the vocabulary");
    out.push_back(static_cast<TokenId>(value));
  }
  return out;
}

std::vector<std::vector<TokenId>> prompts_of(const Json& body, const ServedModel& model) {
  const Json* prompt = find(body, "prompt");
  if (!prompt) refuse("prompt", "is missing");
  // As the tokenizer says for texts, unless the client has written its begin token itself.
  const bool special = !find(body, "add_special_tokens") || flag(body, "add_special_tokens");
  const PromptEncoder encoder(*model.tokenizer, "auto");
  const auto encode = [&](const Json& text) {
    if (!text.is_string())
      refuse("prompt", "is neither text nor token ids, nor a list of one kind");
    return encoder.encode(text.get_ref<const std::string&>(), !special);
  };
  if (!prompt->is_array()) return {encode(*prompt)};
  if (prompt->empty()) refuse("prompt", "is empty");
  if ((*prompt)[0].is_number()) return {ids_of(*prompt, "prompt")};
  if (prompt->size() > static_cast<size_t>(model.most_samples))
    refuse("prompt", "has more than " + std::to_string(model.most_samples) + " elements");
  std::vector<std::vector<TokenId>> out;
  for (const Json& one : *prompt)
    out.push_back(one.is_array() ? ids_of(one, "prompt") : encode(one));
  return out;
}

std::vector<TokenId> chat_prompt(const Json& body, const ServedModel& model) {
  const Json* messages = find(body, "messages");
  if (!messages || !messages->is_array() || messages->empty())
    refuse("messages", "is no list of messages");
  for (const Json& message : *messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      refuse("messages", "holds something that is no message with a role");
  }
  if (!model.render) {
    throw BadRequest{400, "model " + model.name + " has no chat template; use /v1/completions",
                     "model"};
  }
  try {
    return PromptEncoder(*model.tokenizer, "auto").encode(model.render(body), true);
  } catch (const Error& error) {
    throw BadRequest{400, std::string("the chat template refuses these messages: ") + error.what(),
                     "messages"};
  }
}

}  // namespace

CompletionRequest read_completion_request(const Json& body, bool chat, const ServedModel& model,
                                          uint64_t random_seed) {
  if (!body.is_object()) throw BadRequest{400, "the body is no JSON object"};
  if (const Json* name = find(body, "model"); name && *name != model.name) {
    throw BadRequest{404, "there is no model " + name->dump() + ", but \"" + model.name + "\"",
                     "model"};
  }
  refuse_unsupported(body, chat);
  CompletionRequest out;
  out.chat = chat;
  out.stream = flag(body, "stream");
  if (const Json* options = find(body, "stream_options"); options && options->is_object())
    out.stream_usage = flag(*options, "include_usage");
  out.logprobs = wants_logprobs(body, chat);
  out.token_ids = flag(body, "return_token_ids");
  out.n = static_cast<int>(whole(body, "n", 1, 1, model.most_samples));
  out.stops = stops_of(body);

  GenerationRequest request;
  request.seed = seed_of(body, random_seed);
  request.samples = out.n;
  SamplingConfig& sampling = request.sampling;
  sampling.temperature = number(body, "temperature", 1, 0, 100);
  sampling.top_p = number(body, "top_p", 1, 0, 1);
  if (sampling.top_p == 0) sampling.top_p = 1e-6;
  sampling.min_p = number(body, "min_p", 0, 0, 1);
  const int64_t top_k = whole(body, "top_k", 0, -1, 1 << 20);
  sampling.top_k = static_cast<int>(std::max<int64_t>(0, top_k));  // -1: all, as others have it
  sampling.stop = out.stops;
  const int context = model.config->max_position;
  const int64_t longest = int64_t{1} << 20;
  const int64_t asked =
      whole(body, "max_completion_tokens",
            whole(body, "max_tokens", chat ? context : 16, 1, longest), 1, longest);
  sampling.max_tokens = static_cast<int>(asked);

  std::vector<std::vector<TokenId>> prompts;
  if (chat) {
    prompts.push_back(chat_prompt(body, model));
  } else {
    prompts = prompts_of(body, model);
  }
  if (static_cast<int64_t>(prompts.size()) * out.n > model.most_samples) {
    refuse("n", "times the prompts is over " + std::to_string(model.most_samples) +
                    ", the most completions of one request");
  }
  for (size_t i = 0; i < prompts.size(); ++i) {
    request.prompt = prompts[i];
    request.problem = static_cast<uint32_t>(i);
    try {
      check_request(request, *model.config, true, chat ? "the conversation" : "the prompt");
    } catch (const Error& error) {
      throw BadRequest{400, error.what(), chat ? "messages" : "prompt"};
    }
    out.prompts.push_back(request);
  }
  return out;
}

}  // namespace zeroth::serve
