// `zeroth sample`: completions of one prompt.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>

#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/config.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "policy/adapted.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "rl/chat.h"
#include "rollout/local_sampler.h"
#include "tasks/options.h"
#include "text/prompt.h"
#include "text/tokenizer.h"

namespace zeroth {
namespace {

struct SampleOptions {
  std::string model;
  std::string adapter;
  std::string prompt;
  std::string prompt_file;
  std::string prompt_template;
  std::string system;
  Json chat_variables = Json::object();
  PromptConfig placing;
  int n = 1;
  int batch = 64;
  uint64_t seed = 0;
  int cache_mb = 1024;
  int draft_tokens = EngineConfig().draft_tokens;
  bool draft_layer = false;
  SamplingConfig sampling;
  PublishConfig publish;
  DeviceConfig device;
  bool json = false;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint");
    v("adapter", adapter, "folder of a PEFT adapter for the model");
    v("prompt", prompt, "text to continue");
    v("prompt_file", prompt_file, "file whose whole content is the prompt");
    v("template", prompt_template,
      "put the prompt as a question: chat (the checkpoint's own), chatml, llama3, deepseek, "
      "mistral, r1_zero, .. or a text with {question}; empty: as it is");
    v("system", system, "with a chat template: the text of a system turn in front of the prompt");
    v("chat_variables", chat_variables,
      "with template chat: what the template may ask for, such as {\"enable_thinking\": false}");
    placing.fields(v);
    v("n", n, "completions", Range{1, 1 << 24});
    v("batch", batch, "completions decoded together; never changes them", Range{1, 65536});
    v("seed", seed, "names the random draws");
    v("cache_mb", cache_mb, "memory bound of the KV cache in MiB", Range{1, 1 << 20});
    v("draft_tokens", draft_tokens, EngineConfig::kDraftHelp, EngineConfig::kDraftRange);
    v("draft_layer", draft_layer, EngineConfig::kLayerHelp);
    sampling.fields(v);
    publish.fields(v);
    device.fields(v);
    v("json", json, "print one JSON object a completion");
  }
};

std::vector<TokenId> prompt_tokens(const SampleOptions& options, const Tokenizer& tokenizer) {
  std::string text = options.prompt;
  if (!options.prompt_file.empty()) {
    if (!text.empty()) {
      fail_usage("zeroth sample: both --prompt and --prompt-file are given", "give one of them");
    }
    text = read_file(options.prompt_file, uint64_t{1} << 28);
  }
  ResponseOptions response;
  response.prompt_template = options.prompt_template.empty() ? "bare" : options.prompt_template;
  response.prompt_template =
      with_chat_template(response.prompt_template, tokenizer, options.placing.date);
  response.system = options.system;
  response.chat_variables = options.chat_variables;
  const PromptEncoder prompts(tokenizer, options.placing.bos);
  std::vector<TokenId> tokens = prompts.encode(response.render(text), response.is_chat());
  if (tokens.empty()) fail_usage("zeroth sample: the prompt is empty", "give --prompt TEXT");
  std::fputs(prompts.report("the prompt", tokens).c_str(), stderr);
  return tokens;
}

void print_row(int index, const Sample& sample) {
  Json row;
  row["index"] = index;
  row["ids"] = sample.tokens;
  row["text"] = sample.text;
  row["logprobs"] = sample.logprobs;
  row["finish"] = to_string(sample.finish);
  print_json(row);  // a completion may end inside a character: its bytes become U+FFFD
}

void print_text(int index, const Sample& sample, bool terminal) {
  const bool colour = terminal && std::getenv("NO_COLOR") == nullptr;
  const double total = std::accumulate(sample.logprobs.begin(), sample.logprobs.end(), 0.0);
  std::printf("%s# %d: %zu tokens, %s, log-probability %.2f%s\n", colour ? "\033[2m" : "", index,
              sample.tokens.size(), to_string(sample.finish), total, colour ? "\033[0m" : "");
  const std::string text = shown_text(sample.text);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::printf("\n");
}

// Prints samples in order of their index as soon as all before them are done.
class InOrder {
 public:
  explicit InOrder(bool json) : json_(json) {}

  void add(int index, const Sample& sample) {
    waiting_.emplace(index, sample);
    while (!waiting_.empty() && waiting_.begin()->first == next_) {
      const Sample& ready = waiting_.begin()->second;
      json_ ? print_row(next_, ready) : print_text(next_, ready, isatty(STDOUT_FILENO));
      std::fflush(stdout);
      waiting_.erase(waiting_.begin());
      ++next_;
    }
  }

 private:
  std::map<int, Sample> waiting_;
  bool json_;
  int next_ = 0;
};

}  // namespace

int run_sample(const Args& args) {
  SampleOptions options;
  if (asks_for_help(args))
    return print_usage("zeroth sample --model DIR --prompt TEXT [options]", options);
  const Args rest = parse_flags(options, args, "sample");
  if (!rest.empty()) {
    fail_usage("zeroth sample: unexpected argument \"" + rest[0] + "\"",
               "quote the prompt: --prompt \"TEXT\"");
  }
  if (options.model.empty()) {
    fail_usage("zeroth sample: no --model", "give the folder of a checkpoint, --model DIR");
  }
  const kernels::Operators& operators = options.device.operators();  // refused before all else
  options.model = find_shipped(options.model);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(options.model);
  GenerationRequest request;
  request.prompt = prompt_tokens(options, *tokenizer);
  request.seed = options.seed;
  request.samples = options.n;
  request.sampling = options.sampling;
  const WeightsPtr weights =
      load_adapted_weights(options.model, options.adapter, options.publish.element(), operators);
  print_notes(weights->config().notes);

  EngineConfig config;
  config.max_batch = options.batch;
  config.cache_mb = options.cache_mb;
  config.draft_tokens = options.draft_tokens;
  config.draft_layer = options.draft_layer;
  LocalSampler sampler(weights, tokenizer.get(), config);
  const std::atomic<bool>& interrupted = stop_on_interrupt();
  InOrder printer(options.json);
  const auto samples = sampler.generate(
      {request}, {.cancel = &interrupted, .done = [&](int, int index, const Sample& sample) {
                    printer.add(index, sample);
                  }});
  for (int i = 0; i < options.n; ++i) {
    if (samples[0][i].finish == FinishReason::kAborted) printer.add(i, samples[0][i]);
  }
  const SamplerStats& stats = sampler.stats();
  std::fprintf(stderr, "%lld tokens in %.2f s, %.0f tokens/s%s\n",
               static_cast<long long>(stats.sampled_tokens), stats.seconds,
               static_cast<double>(stats.sampled_tokens) / std::max(stats.seconds, 1e-9),
               interrupted ? "; interrupted, some completions are incomplete" : "");
  if (stats.draft_tokens > 0) {
    std::fprintf(stderr, "%lld of %lld drafted tokens accepted, %lld forward calls\n",
                 static_cast<long long>(stats.draft_accepted),
                 static_cast<long long>(stats.draft_tokens),
                 static_cast<long long>(stats.forward_calls));
  }
  return interrupt_exit_code();
}

}  // namespace zeroth
