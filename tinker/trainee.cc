#include "tinker/trainee.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "model/formats/gguf_model.h"
#include "model/formats/peft.h"
#include "model/formats/provenance.h"
#include "tinker/losses.h"

namespace zeroth::tinker {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostRank = 65536;

// Last parts of the names of the matrices that are to have an adapter.
std::vector<std::string> targets_of(const LoraSpec& lora, const Parameters& parameters) {
  constexpr std::string_view kWeight = ".weight";
  std::set<std::string> names;
  for (const ParameterInfo& info : parameters.infos()) {
    const bool wanted =
        info.role == Role::kAttention ? lora.attention
        : info.role == Role::kHead    ? lora.head
        : info.role == Role::kMlp || info.role == Role::kExpert || info.role == Role::kShared
            ? lora.mlp
            : false;
    if (!wanted || info.shape.size() != 2 || !info.name.ends_with(kWeight)) continue;
    const std::string module = info.name.substr(0, info.name.size() - kWeight.size());
    names.insert(module.substr(module.rfind('.') + 1));
  }
  if (names.empty()) {
    throw Refusal{400,
                  "no matrix is left to adapt: with train_attn and train_mlp off there is only the "
                  "head, which this model shares with its embedding"};
  }
  return {names.begin(), names.end()};
}

std::unique_ptr<LoraAdapter> adapter_of(const LoraSpec& lora, double alpha, const Policy& policy) {
  if (lora.rank == 0) return nullptr;
  LoraConfig config;
  config.rank = lora.rank;
  config.alpha = alpha;
  config.targets = targets_of(lora, policy.parameters());
  return make_adapter(config, policy, lora.seed);
}

void write_files(const fs::path& folder, const TokenizerFiles& files) {
  for (const auto& [name, content] : files) {
    if (fs::exists(folder / name)) continue;  // config.json is the policy's
    FileWriter writer(folder / name);
    writer.write(content);
    writer.close();
  }
}

}  // namespace

Json LoraSpec::json() const {
  return {{"rank", rank},
          {"seed", seed},
          {"train_attn", attention},
          {"train_mlp", mlp},
          {"train_unembed", head}};
}

LoraSpec LoraSpec::from_json(const Json& json) {
  LoraSpec out;
  out.rank = static_cast<int>(whole_of(json, "rank", 0, kMostRank).value_or(0));
  if (const Json* seed = find(json, "seed")) {
    if (!seed->is_number_integer()) throw Refusal{400, "'seed' is no whole number"};
    out.seed = seed->is_number_unsigned() ? seed->get<uint64_t>()
                                          : static_cast<uint64_t>(seed->get<int64_t>());
  }
  out.attention = flag_of(json, "train_attn", true);
  out.mlp = flag_of(json, "train_mlp", true);
  out.head = flag_of(json, "train_unembed", true);
  return out;
}

LoraSpec read_lora(const Json* config) {
  if (config == nullptr) return {};
  if (!config->is_object() || find(*config, "rank") == nullptr)
    throw Refusal{400, "'lora_config' is no object with a rank"};
  return LoraSpec::from_json(*config);
}

Trainee::Trainee(const TraineeOptions& options, const LoraSpec& lora,
                 const std::optional<TrainingCheckpoint>& from, bool moments)
    : options_(options),
      lora_(lora),
      policy_(
          Policy::load(from ? from->folder : options.model, options.element, *options.operators)),
      tokenizer_files_(read_tokenizer_files(*load_tokenizer(from ? from->folder : options.model))),
      before_(from ? stages_before(from->folder) : stages_of(options.model)) {
  OptimizerConfig config;
  learner_ = std::make_unique<Learner>(*policy_, config, LearnerConfig{}, nullptr,
                                       adapter_of(lora, options.lora_alpha, *policy_));
  if (from) {
    restore_trainer(*from, *policy_, learner_->optimizer(), nullptr, nullptr, learner_->low_rank());
    if (!moments) learner_->optimizer().reset();
    learner_->publish();
  }
  learner_->begin();
}

LossResult Trainee::run(const LossRequest& request) {
  Loss loss(request, policy_->config());
  LossResult result;
  result.data.resize(request.data.size());
  for (size_t first = 0; first < request.data.size();) {
    size_t last = first;
    int64_t tokens = 0;
    do {
      tokens += static_cast<int64_t>(request.data[last++].tokens.size());
    } while (last < request.data.size() &&
             tokens + static_cast<int64_t>(request.data[last].tokens.size()) <=
                 options_.batch_tokens);
    compute(request, first, last, result, loss);
    first = last;
  }
  result.metrics = loss.metrics();
  return result;
}

// One forward call over data [first, last), each a part: what it adds to the gradient does not
// depend on the others.
void Trainee::compute(const LossRequest& request, size_t first, size_t last, LossResult& result,
                      Loss& loss) {
  TargetBatch batch;
  for (size_t i = first; i < last; ++i) {
    const Datum& datum = request.data[i];
    batch.packed.begin_part();
    batch.packed.add(datum.tokens);
    for (const int64_t id : datum.inputs.at("target_tokens").whole)
      batch.target.push_back(static_cast<int32_t>(id));
  }
  batch.packed.finish();
  batch.temperature.assign(batch.target.size(), 1.0f);
  std::vector<float> logprobs(batch.target.size()), gradient(batch.target.size());
  if (request.forward_only) {
    scorer_.forward(*policy_->weights(), batch);
    scorer_.score(*policy_->weights(), batch, batch.responses(), logprobs.data(), nullptr);
  } else {
    learner_->forward(batch, logprobs.data(), nullptr);
  }
  const auto bad = std::find_if(logprobs.begin(), logprobs.end(),
                                [](float value) { return !std::isfinite(value); });
  if (bad != logprobs.end()) {
    learner_->begin();
    fail("the model gives a log-prob of " + std::to_string(*bad) +
             ": its weights have diverged; the gradient since the last step is dropped",
         "load an earlier state, and lower learning_rate");
  }
  size_t at = 0;
  for (size_t i = first; i < last; ++i) {
    const size_t n = request.data[i].tokens.size();
    LossResult::OfDatum& out = result.data[i];
    out.logprobs.assign(logprobs.begin() + static_cast<int64_t>(at),
                        logprobs.begin() + static_cast<int64_t>(at + n));
    loss.add(i, out.logprobs.data(), out.losses, gradient.data() + at);
    at += n;
  }
  if (!request.forward_only) learner_->accumulate(batch, gradient.data(), nullptr);
}

Json Trainee::step(const Json& params) {
  if (!params.is_object()) throw Refusal{400, "'adam_params' is no object"};
  OptimizerConfig config;
  config.lr = real_of(params, "learning_rate", 1e-4, 0, 1);
  config.beta1 = real_of(params, "beta1", 0.9, 0, 0.999999);
  config.beta2 = real_of(params, "beta2", 0.95, 0, 0.999999);
  config.eps = real_of(params, "eps", 1e-12, 0, 1);
  config.weight_decay = real_of(params, "weight_decay", 0, 0, 1);
  config.max_grad_norm = real_of(params, "grad_clip_norm", 0, 0, 1e9);
  learner_->optimizer().configure(config);
  learner_->reduce();
  const double norm = learner_->step(config.lr);
  learner_->begin();
  if (!std::isfinite(norm)) {
    fail("the gradient norm is " + std::to_string(norm) + "; nothing was learnt from it",
         "lower learning_rate, or load an earlier state");
  }
  learner_->publish();
  return {{"grad_norm", norm}, {"learning_rate", config.lr}, {"steps", steps()}};
}

std::string Trainee::provenance() const {
  Json config = {{"model", options_.model.string()}, {"lora", lora_.json()}};
  config["lora"]["alpha"] = options_.lora_alpha;
  return provenance_text(before_, new_stage("tinker", steps(), std::move(config), {}));
}

void Trainee::save(const fs::path& folder) const {
  CheckpointSource source{*policy_, tokenizer_files_, learner_->optimizer()};
  source.files[kProvenanceFile] = provenance();
  source.low_rank = learner_->low_rank();
  source.base = options_.model.string();
  save_checkpoint(folder, steps(), source, {1, 0, -1});
}

void Trainee::save_model(const fs::path& folder) const {
  policy_->save(folder);
  write_files(folder, tokenizer_files_);
  write_file_atomic(folder / kProvenanceFile, provenance());
  if (!has_adapter()) return;
  fs::create_directory(folder / "adapter");
  write_adapter(folder / "adapter", learner_->low_rank()->adapter(), options_.model.string());
}

}  // namespace zeroth::tinker
