#include "rl/pretrain.h"

#include <cmath>
#include <cstdio>

#include "core/error.h"
#include "core/files.h"
#include "core/stopwatch.h"
#include "learn/learner.h"
#include "model/formats/gguf_model.h"
#include "policy/policy.h"
#include "record/progress.h"
#include "record/run_recorder.h"
#include "rl/checkpoint.h"
#include "rl/run_folder.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

std::unique_ptr<Policy> initial_policy(const PretrainConfig& config) {
  if (!config.model.empty()) return Policy::load(config.model, config.policy.element());
  return Policy::init(PolicyConfig::from_file(config.model_config), config.seed,
                      config.policy.element());
}

RunRecorder make_recorder(const fs::path& folder, int64_t steps) {
  RecorderOptions options;
  options.record.traces = false;
  options.record.scan = false;
  options.record.progress = false;  // its fields are those of reinforcement learning
  options.total_steps = steps;
  return RunRecorder(folder, std::move(options));
}

// Everything one update needs.
class Pretrainer {
 public:
  Pretrainer(const PretrainConfig& config, const fs::path& folder,
             const std::optional<TrainingCheckpoint>& from)
      : config_(config),
        folder_(folder),
        tokenizer_(load_tokenizer(
            from ? from->folder
                 : fs::path(config.tokenizer.empty() ? config.model : config.tokenizer))),
        tokenizer_files_(read_tokenizer_files(*tokenizer_)),
        corpus_(make_corpus(config.corpus.name, config.corpus.options)),
        policy_(from ? Policy::load(from->folder, config.policy.element())
                     : initial_policy(config)),
        learner_(*policy_, config.optimizer),
        batches_(*corpus_, *tokenizer_, config.seed, config.batch_tokens, config.bos) {
    const int tokens = tokenizer_->vocab_size() - tokenizer_->special().named_only;
    if (tokens > policy_->config().vocab_size) {
      fail("the tokenizer has " + std::to_string(tokens) + " tokens, the model's vocab_size is " +
               std::to_string(policy_->config().vocab_size),
           "raise vocab_size in the model's config.json");
    }
    if (!from) return;
    restore_trainer(*from, *policy_, learner_.optimizer(), nullptr);
    learner_.publish();
    next_document_ = from->state.at("next_document").get<int64_t>();
    num_tokens_ = from->state.at("num_tokens").get<int64_t>();
  }

  // One update; the row of metrics without timings.
  Json step(int64_t step) {
    batches_.build(next_document_);
    const double loss = differentiate();
    const double lr = learning_rate(config_.optimizer, step, config_.steps);
    const double norm = learner_.step(lr);
    if (!std::isfinite(norm)) {
      fail("alarm gradient_nan stopped the run: the gradient norm at step " + std::to_string(step) +
               " is " + std::to_string(norm) +
               "; the update was not made and the last checkpoint is kept",
           "lower optimizer.lr or optimizer.max_grad_norm and resume");
    }
    learner_.publish();
    num_tokens_ += batches_.batch().packed.rows();
    return {{"loss", loss},
            {"grad_norm", norm},
            {"learning_rate", lr},
            {"loss_tokens", batches_.batch().responses()},
            {"num_tokens", num_tokens_},
            {"documents", next_document_}};
  }

  void save(int64_t step) {
    const Json state = {{"next_document", next_document_}, {"num_tokens", num_tokens_}};
    save_checkpoint(folder_, step,
                    {*policy_, tokenizer_files_, learner_.optimizer(), nullptr, state},
                    {config_.keep_last, config_.keep_every, -1});
  }

  int64_t num_tokens() const { return num_tokens_; }
  std::string prompt_report() const { return batches_.report(); }

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
  fs::path folder_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TokenizerFiles tokenizer_files_;
  std::unique_ptr<Corpus> corpus_;
  std::unique_ptr<Policy> policy_;
  Learner learner_;
  DocumentBatches batches_;
  std::vector<float> logprob_;
  int64_t next_document_ = 0;
  int64_t num_tokens_ = 0;
};

void print_progress(int64_t step, int64_t steps, const Json& row, double seconds_per_step) {
  std::fprintf(
      stderr, "step %lld/%lld  loss %.4f  grad %.3f  lr %.2e  %.1fM tokens  %.0f ms/step  eta %s\n",
      static_cast<long long>(step), static_cast<long long>(steps), row.at("loss").get<double>(),
      row.at("grad_norm").get<double>(), row.at("learning_rate").get<double>(),
      row.at("num_tokens").get<double>() / 1e6, seconds_per_step * 1e3,
      short_duration(seconds_per_step * static_cast<double>(steps - step)).c_str());
}

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

PretrainSummary pretrain(const PretrainConfig& config, const fs::path& folder, bool resume,
                         const std::atomic<bool>* stop,
                         const std::function<void(int64_t, int64_t)>& progress) {
  const double begin = steady_now();
  const FolderLock lock(make_run_folder(folder));
  PretrainConfig copy = config;
  const Json dump = dump_config(copy);
  if (!resume) refuse_old_run(folder, "pretrain");
  if (resume && holds_run(folder)) {
    PretrainConfig recorded = read_pretrain_config(folder / "config.json", {});
    refuse_other_run(folder, dump_config(recorded), dump,
                     {"steps", "checkpoint_every", "keep_last", "keep_every", "print_every"});
  }
  const auto checkpoint = resume ? checkpoint_to_resume(folder, "pretrain") : std::nullopt;
  Pretrainer trainer(config, folder, checkpoint);
  std::fputs(trainer.prompt_report().c_str(), stderr);
  write_run_config(folder, dump);
  RunRecorder recorder = make_recorder(folder, config.steps);
  int64_t step = checkpoint ? checkpoint->step : 0;
  recorder.truncate_to(step - 1, set_aside_folder(folder));
  int64_t saved = step;
  const auto save = [&](int64_t finished) {
    recorder.sync();
    trainer.save(finished);
    saved = finished;
    fs::remove_all(set_aside_folder(folder));
  };
  if (checkpoint) {
    mend_latest(folder, step);
    say_passed_over(*checkpoint);
  } else {
    save(0);  // so that steps without any checkpoint mean that it was lost
  }

  std::fprintf(stderr, "run %s: step %lld of %lld\n", folder.c_str(), static_cast<long long>(step),
               static_cast<long long>(config.steps));
  PretrainSummary summary;
  const int64_t first = step;
  const double start = steady_now();
  for (; step < config.steps && !summary.interrupted; ++step) {
    const double step_start = steady_now();
    Json row = trainer.step(step);
    summary.loss = row.at("loss").get<double>();
    row["step_time"] = steady_now() - step_start;
    recorder.record(step, row, {});
    if (progress) progress(step + 1, saved);
    const bool last = step + 1 == config.steps;
    if (config.print_every > 0 && (last || (step + 1) % config.print_every == 0)) {
      print_progress(step + 1, config.steps, row,
                     (steady_now() - start) / static_cast<double>(step + 1 - first));
    }
    summary.interrupted = stop != nullptr && *stop && !last;
    if (last || summary.interrupted || (step + 1) % config.checkpoint_every == 0) save(step + 1);
  }
  summary.steps = step;
  summary.num_tokens = trainer.num_tokens();
  summary.seconds = steady_now() - begin;
  return summary;
}

}  // namespace zeroth
