#include "stages/pretrain.h"

#include "core/error.h"
#include "learn/learner.h"
#include "model/formats/gguf_model.h"
#include "model/formats/provenance.h"
#include "policy/policy.h"
#include "rl/run_folder.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// Fields that a resumed run may change.
const std::vector<std::string>& pretrain_free_fields() {
  static const std::vector<std::string> fields = {"steps",     "device",     "checkpoint_every",
                                                  "keep_last", "keep_every", "print_every"};
  return fields;
}

std::unique_ptr<Policy> initial_policy(const PretrainConfig& config) {
  if (!config.model.empty())
    return Policy::load(config.model, config.policy.element(), config.device.operators());
  return Policy::init(PolicyConfig::from_file(config.model_config), config.seed,
                      config.policy.element(), config.device.operators());
}

class Pretrainer : public Stage {
 public:
  Pretrainer(const PretrainConfig& config, const std::optional<TrainingCheckpoint>& from)
      : config_(config),
        tokenizer_(load_tokenizer(
            from ? from->folder
                 : fs::path(config.tokenizer.empty() ? config.model : config.tokenizer))),
        tokenizer_files_(read_tokenizer_files(*tokenizer_)),
        corpus_(make_corpus(config.corpus.name, config.corpus.options)),
        policy_(from
                    ? Policy::load(from->folder, config.policy.element(), config.device.operators())
                    : initial_policy(config)),
        learner_(*policy_, config.optimizer),
        batches_(*corpus_, *tokenizer_, config.seed, config.batch_tokens, config.bos),
        before_(from ? stages_before(from->folder) : stages_of(config.model)) {
    check_vocabulary(*tokenizer_, policy_->config());
    if (!from) return;
    restore_trainer(*from, *policy_, learner_.optimizer(), nullptr);
    learner_.publish();
    next_document_ = from->state.at("next_document").get<int64_t>();
    num_tokens_ = from->state.at("num_tokens").get<int64_t>();
  }

  int64_t steps() const override { return config_.steps; }
  std::string report() const override { return batches_.report(); }
  int64_t num_tokens() const override { return num_tokens_; }

  Json update(int64_t step) override {
    batches_.build(next_document_);
    const double loss = differentiate();
    const double lr = learning_rate(config_.optimizer, step, config_.steps);
    const double norm = learner_.step(lr);
    check_gradient(norm, step);
    learner_.publish();
    num_tokens_ += batches_.batch().packed.rows();
    return {{"loss", loss},
            {"grad_norm", norm},
            {"learning_rate", lr},
            {"loss_tokens", batches_.batch().responses()},
            {"num_tokens", num_tokens_},
            {"documents", next_document_}};
  }

  CheckpointSource checkpoint(int64_t step) override {
    CheckpointSource source{*policy_, tokenizer_files_, learner_.optimizer()};
    source.state = {{"next_document", next_document_}, {"num_tokens", num_tokens_}};
    PretrainConfig copy = config_;
    source.files[kProvenanceFile] = provenance_text(
        before_, new_stage("pretrain", step, dump_config(copy), pretrain_free_fields()));
    return source;
  }

 private:
  // Gradient of the mean -log p over the batch's loss tokens; returns that mean.
  double differentiate() {
    const TargetBatch& batch = batches_.batch();
    const auto rows = static_cast<size_t>(batch.responses());
    logprob_.resize(rows);
    const std::vector<float> dlogprob(rows, -1.0f / static_cast<float>(rows));
    learner_.begin();
    learner_.forward(batch, logprob_.data(), nullptr);
    learner_.accumulate(batch, dlogprob.data(), nullptr,
                        {config_.router_aux_coef, batch.responses()});
    learner_.reduce();
    double sum = 0;
    for (float logprob : logprob_) sum -= logprob;
    return sum / static_cast<double>(rows);
  }

  const PretrainConfig& config_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizerFiles tokenizer_files_;
  std::unique_ptr<Corpus> corpus_;
  std::unique_ptr<Policy> policy_;
  Learner learner_;
  DocumentBatches batches_;
  const Json before_;  // of model/formats/provenance.h
  std::vector<float> logprob_;
  int64_t next_document_ = 0;
  int64_t num_tokens_ = 0;
};

}  // namespace

DocumentBatches::DocumentBatches(const Corpus& corpus, const Tokenizer& tokenizer, uint64_t seed,
                                 int64_t batch_tokens, const std::string& bos)
    : corpus_(corpus),
      tokenizer_(tokenizer),
      prompts_(tokenizer, bos),
      seed_(seed),
      batch_tokens_(batch_tokens) {
  if (tokenizer.eos_ids().empty()) {
    fail("the tokenizer names no end-of-text token, so a response would never end",
         "give it an eos_token_id in generation_config.json");
  }
}

std::string DocumentBatches::report() const {
  const Document document = corpus_.document(seed_, 0);
  return prompts_.report("prompt of document 0", prompts_.encode(document.prompt, false));
}

std::vector<TokenId> DocumentBatches::encode(int64_t index, int64_t& prompt_tokens) const {
  const Document document = corpus_.document(seed_, index);
  std::vector<TokenId> tokens = prompts_.encode(document.prompt, false);
  // Prompt and response are encoded apart, because sampling continues the prompt's own tokens.
  prompt_tokens = static_cast<int64_t>(tokens.size());
  const std::vector<TokenId> response = tokenizer_.encode(document.response);
  tokens.insert(tokens.end(), response.begin(), response.end());
  tokens.push_back(tokenizer_.eos_ids().front());
  return tokens;
}

void DocumentBatches::build(int64_t& next) {
  batch_.clear();
  int64_t used = 0;
  for (;; ++next) {
    int64_t prompt = 0;
    const std::vector<TokenId> tokens = encode(next, prompt);
    const int64_t rows = static_cast<int64_t>(tokens.size()) - 1;
    if (rows < 1) continue;  // nothing precedes its end
    if (used > 0 && used + rows > batch_tokens_) break;
    used += rows;
    // The first token has no predecessor to predict it from.
    const int64_t first = std::max<int64_t>(prompt, 1);
    const std::span all(tokens);
    const std::span<const TokenId> input = all.subspan(first - 1, rows - (first - 1));
    batch_.packed.add_group(all.first(first - 1), std::span(&input, 1));
    batch_.target.insert(batch_.target.end(), tokens.begin() + first, tokens.end());
  }
  batch_.packed.finish();
  batch_.temperature.assign(batch_.target.size(), 1.0f);
}

PretrainConfig read_pretrain_config(const fs::path& file,
                                    const std::vector<std::string>& overrides) {
  PretrainConfig config;
  load_config(config, read_config_file(file), file.string());
  for (const std::string& assignment : overrides) override_config(config, assignment);
  if (config.model.empty() == config.model_config.empty()) {
    fail_usage(file.string() + ": give exactly one of model and model_config (model = \"" +
                   config.model + "\", model_config = \"" + config.model_config + "\")",
               "model_config starts from random weights, model goes on from a checkpoint");
  }
  if (config.model.empty() && config.tokenizer.empty()) {
    fail_usage(file.string() + ": model_config without a tokenizer",
               "set tokenizer to a folder with tokenizer.json");
  }
  return config;
}

StageSummary pretrain(const PretrainConfig& config, const fs::path& folder, bool resume,
                      const std::atomic<bool>* stop,
                      const std::function<void(int64_t, int64_t)>& progress) {
  StageRun run;
  run.command = "pretrain";
  run.folder = folder;
  run.resume = resume;
  PretrainConfig copy = config;
  run.config = dump_config(copy);
  run.recorded_config = [&] {
    PretrainConfig recorded = read_pretrain_config(folder / "config.json", {});
    return dump_config(recorded);
  };
  run.free = pretrain_free_fields();
  run.saving = config.saving;
  return run_stage(
      run, [&](const auto& from) { return std::make_unique<Pretrainer>(config, from); }, stop,
      progress);
}

}  // namespace zeroth
