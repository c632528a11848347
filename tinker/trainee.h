// One model that a client trains: a policy of its own, its learner, and its state on disk.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "learn/learner.h"
#include "policy/policy.h"
#include "policy/scoring.h"
#include "rl/checkpoint.h"
#include "tinker/messages.h"

namespace zeroth::tinker {

class Loss;  // tinker/losses.h

// What learns: an adapter, or all weights with rank 0.
struct LoraSpec {
  int rank = 0;
  uint64_t seed = 0;
  bool attention = true, mlp = true, head = true;  // the head where it is a matrix of its own

  Json json() const;
  static LoraSpec from_json(const Json& json);  // of json(); throws Refusal
};
// Of a request: rank, seed, train_attn, train_mlp, train_unembed; null: all weights learn.
LoraSpec read_lora(const Json* config);

struct TraineeOptions {
  std::filesystem::path model;  // that every new one begins with
  kernels::Element element = kernels::Element::kFloat32;
  const kernels::Operators* operators = &kernels::cpu_operators();
  double lora_alpha = 32;
  int64_t batch_tokens = 4096;  // of a forward call; changes no bit of a result
};

// Not thread safe.
class Trainee {
 public:
  // Begins with the base model, or with what `from` holds, then with the optimizer's moments too if
  // `moments`. Throws Refusal or Error.
  Trainee(const TraineeOptions& options, const LoraSpec& lora,
          const std::optional<TrainingCheckpoint>& from, bool moments);

  // forward, or forward_backward: adds to the gradient of the next step(), unless the request is
  // refused. Log-probs that are not finite are an Error, and that gradient begins at zero again.
  LossResult run(const LossRequest& request);
  // One update of AdamW by the gradient since the last one, which begins at zero then. `params`:
  // AdamParams. Returns metrics. A gradient that is not finite is an Error; nothing is learnt then.
  Json step(const Json& params);
  // Writes a run's checkpoint into `folder`/checkpoints (rl/checkpoint.h).
  void save(const std::filesystem::path& folder) const;
  // The model alone, as transformers loads it, with the tokenizer's files. The folder must be there.
  void save_model(const std::filesystem::path& folder) const;

  const LoraSpec& lora() const { return lora_; }
  bool has_adapter() const { return learner_->low_rank() != nullptr; }
  // By which it samples and computes now.
  WeightsPtr weights() const { return policy_->weights(); }
  int64_t steps() const { return learner_->optimizer().steps(); }

 private:
  void compute(const LossRequest& request, size_t first, size_t last, LossResult& result,
               Loss& loss);
  std::string provenance() const;

  TraineeOptions options_;
  LoraSpec lora_;
  std::unique_ptr<Policy> policy_;
  std::unique_ptr<Learner> learner_;
  TokenizerFiles tokenizer_files_;
  Json before_;  // of model/formats/provenance.h
  Scorer scorer_;
};

}  // namespace zeroth::tinker
