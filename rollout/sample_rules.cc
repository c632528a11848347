#include "rollout/sample_rules.h"

#include "core/error.h"

namespace zeroth {
namespace {

void check_sampling(const SamplingConfig& sampling, const std::string& who) {
  const auto check = [&](const char* name, double value, double lo, double hi) {
    if (value >= lo && value <= hi) return;  // false for NaN
    fail_usage(who + ": " + name + " is " + std::to_string(value),
               "use a value from " + std::to_string(lo) + " to " + std::to_string(hi));
  };
  check("temperature", sampling.temperature, 0, 100);
  check("top_k", sampling.top_k, 0, 1 << 20);
  check("top_p", sampling.top_p, 1e-6, 1);
  check("min_p", sampling.min_p, 0, 1);
  check("max_tokens", sampling.max_tokens, 1, 1 << 20);
}

void check_begun(const GenerationRequest& request, const PolicyConfig& model,
                 const std::string& who) {
  if (request.begun.empty()) return;
  if (static_cast<int>(request.begun.size()) != request.samples) {
    fail_usage(who + ": " + std::to_string(request.begun.size()) + " samples are begun, but " +
                   std::to_string(request.samples) + " are wanted",
               "give one for each, empty where nothing is drawn yet");
  }
  for (const Sample& sample : request.begun) {
    const size_t tokens = sample.tokens.size();
    const bool whole = sample.logprobs.size() == tokens && sample.entropies.size() == tokens;
    const bool known = std::all_of(sample.tokens.begin(), sample.tokens.end(),
                                   [&](TokenId t) { return t >= 0 && t < model.vocab_size; });
    if (whole && known && static_cast<int>(tokens) < longest_sample(request, model)) continue;
    fail_usage(who + ": a sample that is begun has " + std::to_string(tokens) +
                   " tokens that cannot be gone on with",
               "give tokens of the vocabulary, fewer than max_tokens, each with log-prob and "
               "entropy");
  }
}

}  // namespace

void check_request(const GenerationRequest& request, const PolicyConfig& model, bool has_tokenizer,
                   const std::string& who) {
  check_sampling(request.sampling, who);
  if (request.prompt.empty()) {
    fail_usage(who + ": the prompt has no tokens", "begin with the begin-of-text token or a text");
  }
  if (request.prompt.size() >= static_cast<size_t>(model.max_position)) {
    fail_usage(who + ": the prompt has " + std::to_string(request.prompt.size()) +
                   " tokens, which leaves no room in the policy's context of " +
                   std::to_string(model.max_position),
               "shorten the prompt");
  }
  if (request.samples < 0) {
    fail_usage(who + ": samples is " + std::to_string(request.samples), "use 0 or more");
  }
  for (const TokenId token : request.prompt) {
    if (token >= 0 && token < model.vocab_size) continue;
    fail_usage(who + ": prompt token " + std::to_string(token) +
                   " is not in the policy's vocabulary of " + std::to_string(model.vocab_size),
               "use the tokenizer that belongs to the checkpoint");
  }
  check_begun(request, model, who);
  if (!request.sampling.stop.empty() && !has_tokenizer) {
    fail_usage(who + ": stop strings need a tokenizer", "leave stop out");
  }
}

kernels::SampleParams to_params(const SamplingConfig& sampling) {
  kernels::SampleParams params;
  params.temperature = static_cast<float>(sampling.temperature);
  if (sampling.temperature == 0) return params;  // the best token is in every kept set
  params.top_k = sampling.top_k;
  params.top_p = static_cast<float>(sampling.top_p);
  params.min_p = static_cast<float>(sampling.min_p);
  return params;
}

}  // namespace zeroth
