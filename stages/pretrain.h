// Next-token training of a base checkpoint on a procedural corpus: same policy, kernels, optimizer
// and checkpoints as reinforcement learning, which never sees what is used here.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "learn/optimizer.h"
#include "policy/device_config.h"
#include "policy/publish_config.h"
#include "policy/scoring.h"
#include "stages/stage_run.h"
#include "tasks/corpora/corpus.h"
#include "text/prompt.h"

namespace zeroth {

struct CorpusConfig {
  std::string name = "countdown";
  Json options = Json::object();
  template <class V>
  void fields(V& v) {
    v("name", name, "corpus to learn");
    v("options", options, "options of the corpus");
  }
};

struct PretrainConfig {
  std::string model_config;
  std::string model;
  std::string tokenizer;
  PublishConfig policy;
  DeviceConfig device;
  CorpusConfig corpus;
  uint64_t seed = 0;
  int64_t steps = 1000;
  int64_t batch_tokens = 1600;
  std::string bos = "auto";
  double router_aux_coef = 0.01;
  OptimizerConfig optimizer;
  SavingConfig saving;

  template <class V>
  void fields(V& v) {
    v("model_config", model_config,
      "Hugging Face config.json: start from random weights of this shape");
    v("model", model, "or start from the weights of this checkpoint folder");
    v("tokenizer", tokenizer, "folder of the tokenizer; default: the model's");
    v("policy", policy, "how the policy is published");
    device.fields(v);
    v("corpus", corpus, "what is learnt");
    v("seed", seed, "of initial weights and documents");
    v("steps", steps, "updates", Range{1, 1e9});
    v("batch_tokens", batch_tokens, "most input tokens of an update, prompts included",
      Range{16, 1e9});
    v("bos", bos,
      "the begin-of-text token of documents: auto = as the tokenizer says, always, never",
      Choice{{"auto", "always", "never"}});
    v("router_aux_coef", router_aux_coef, "weight of the load-balancing loss; 0 = off",
      Range{0, 100});
    v("optimizer", optimizer, "AdamW and its schedule");
    saving.fields(v);
  }
};

// Documents in order of their index, each a sequence of its own, whole, as many as fit. Loss falls
// on the response and the end-of-text token behind it. A document longer than the batch is alone in
// it.
class DocumentBatches {
 public:
  // Throws Error when the tokenizer has no end-of-text token.
  DocumentBatches(const Corpus& corpus, const Tokenizer& tokenizer, uint64_t seed,
                  int64_t batch_tokens, const std::string& bos = "auto");

  // Lays out the next batch. `next` is the index of the first document that was not used yet; it is
  // moved.
  void build(int64_t& next);
  const TargetBatch& batch() const { return batch_; }
  // The prompt of document 0 as the policy sees it.
  std::string report() const;

 private:
  std::vector<TokenId> encode(int64_t index, int64_t& prompt_tokens) const;

  const Corpus& corpus_;
  const Tokenizer& tokenizer_;
  PromptEncoder prompts_;
  uint64_t seed_;
  int64_t batch_tokens_;
  TargetBatch batch_;
};

PretrainConfig read_pretrain_config(const std::filesystem::path& file,
                                    const std::vector<std::string>& overrides);

// See run_stage().
StageSummary pretrain(const PretrainConfig& config, const std::filesystem::path& folder,
                      bool resume, const std::atomic<bool>* stop = nullptr,
                      const std::function<void(int64_t finished, int64_t saved)>& progress = {});

}  // namespace zeroth
