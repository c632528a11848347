// `zeroth score`: teacher-forced log-probabilities of token sequences.
#include <cmath>
#include <cstdio>

#include "cli/commands.h"
#include "cli/output.h"
#include "cli/shipped.h"
#include "cli/usage.h"
#include "core/json_lines.h"
#include "core/sha256.h"
#include "kernels/ops.h"
#include "learn/learner.h"
#include "model/formats/peft.h"
#include "policy/adapted.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "policy/scoring.h"

namespace zeroth {
namespace {

struct ScoreOptions {
  std::string model;
  std::string adapter;
  std::string in;
  bool grad_norm = false;
  bool grad_hash = false;
  bool recompute = false;
  PublishConfig publish;
  DeviceConfig device;
  int batch_tokens = 4096;
  template <class V>
  void fields(V& v) {
    v("model", model, "folder of the checkpoint");
    v("adapter", adapter,
      "folder of a PEFT adapter for the model; the gradient is then that of its A and B");
    v("in", in, "lines {\"ids\":[..]}");
    v("grad_norm", grad_norm, "end with the norm of the gradient of the sum of -log p");
    v("grad_hash", grad_hash,
      "with --grad-norm: also the SHA-256 of the gradient's bytes, to compare two runs bit for "
      "bit");
    v("recompute", recompute,
      "with --grad-norm: keep only the inputs of layers and compute each again for its gradient "
      "(less memory, the same bits)");
    publish.fields(v);
    device.fields(v);
    v("batch_tokens", batch_tokens, "tokens a pass; never changes a log-prob", Range{1, 1 << 24});
  }
};

std::vector<TokenId> read_ids(const Json& row, const std::string& where, int vocab_size) {
  const auto it = row.is_object() ? row.find("ids") : row.end();
  if (!row.is_object() || it == row.end() || !it->is_array() || it->empty()) {
    fail(where + ": no list \"ids\" with at least one token", "write lines {\"ids\":[1,2,3]}");
  }
  std::vector<TokenId> ids;
  for (const Json& id : *it) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() >= vocab_size) {
      fail(where + ": token id " + id.dump().substr(0, 40) + " is outside the vocabulary of " +
               std::to_string(vocab_size),
           "use the tokenizer that belongs to the model");
    }
    ids.push_back(id.get<TokenId>());
  }
  return ids;
}

}  // namespace

int run_score(const Args& args) {
  ScoreOptions options;
  if (asks_for_help(args))
    return print_usage(
        "zeroth score --model DIR --in FILE.jsonl [--grad-norm [--grad-hash] [--recompute]]",
        options);
  const Args rest = parse_flags(options, args, "score");
  if (!rest.empty() || options.model.empty() || options.in.empty()) {
    fail_usage(rest.empty() ? "zeroth score: --model or --in is missing"
                            : "zeroth score: unexpected argument \"" + rest[0] + "\"",
               "usage: zeroth score --model DIR --in FILE.jsonl [--grad-norm]");
  }
  options.model = find_shipped(options.model);
  std::unique_ptr<Policy> policy;  // only gradients need masters
  if (options.grad_norm)
    policy = Policy::load(options.model, options.publish.element(), options.device.operators());
  std::unique_ptr<Learner> learner;
  if (policy) {
    LearnerConfig config;
    if (options.recompute) config.mode = Activations::Mode::kCheckpoint;
    std::unique_ptr<LoraAdapter> adapter;
    if (!options.adapter.empty()) adapter = read_adapter(options.adapter, policy->config());
    learner =
        std::make_unique<Learner>(*policy, OptimizerConfig(), config, nullptr, std::move(adapter));
    learner->begin();
  }
  const WeightsPtr weights =
      policy ? policy->weights()
             : load_adapted_weights(options.model, options.adapter, options.publish.element(),
                                    options.device.operators());
  print_notes(weights->config().notes);
  std::vector<std::vector<TokenId>> waiting;
  int64_t tokens = 0;
  const auto flush = [&] {
    const auto scores = learner ? differentiate_sequences(*learner, waiting, options.batch_tokens)
                                : score_sequences(*weights, waiting, options.batch_tokens);
    for (const std::vector<float>& logprobs : scores) {
      std::printf("%s\n", Json{{"logprobs", logprobs}}.dump().c_str());
    }
    waiting.clear();
    tokens = 0;
  };
  for_each_json_line(options.in, [&](const Json& row, int64_t line) {
    const std::string where = options.in + ":" + std::to_string(line);
    waiting.push_back(read_ids(row, where, weights->config().vocab_size));
    tokens += static_cast<int64_t>(waiting.back().size());
    if (tokens >= options.batch_tokens) flush();
  });
  flush();
  if (learner) {
    const std::span<const float> grads = learner->reduce();
    const double norm = std::sqrt(kernels::sum_squares(grads.data(), grads.size()));
    Json last = {{"total_grad_norm", norm}};
    if (options.grad_hash) {
      last["gradient_sha256"] =
          sha256_hex({reinterpret_cast<const char*>(grads.data()), grads.size() * sizeof(float)});
    }
    std::printf("%s\n", last.dump().c_str());
  }
  return 0;
}

}  // namespace zeroth
