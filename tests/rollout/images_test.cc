// Image codes: sampling is the trainer's forward, guidance included.
#include <doctest/doctest.h>

#include <cstring>

#include "model/image_codes.h"
#include "policy/policy.h"
#include "policy/scoring.h"
#include "rollout/fleet/audit.h"
#include "rollout/local_sampler.h"

namespace zeroth {
namespace {

constexpr int kText = 12, kCodes = 6;
constexpr TokenId kBegin = 3;

std::unique_ptr<Policy> policy_of(double guidance) {
  const Json json = {
      {"architectures", {"MultiModalityCausalLM"}},
      {"model_type", "multi_modality"},
      {"gen_vision_config", {{"params", {{"image_token_size", kCodes}, {"n_embed", 8}}}}},
      {"gen_aligner_config",
       {{"params",
         {{"depth", 2}, {"input_dim", 8}, {"n_embed", 32}, {"projector_type", "mlp_gelu"}}}}},
      {"gen_head_config",
       {{"params", {{"n_embed", 32}, {"image_token_embed", 32}, {"image_token_size", kCodes}}}}},
      {"image_generation",
       {{"begin_token_id", kBegin},
        {"pad_token_id", 1},
        {"rows", 4},
        {"columns", 5},
        {"guidance", guidance}}},
      {"language_config",
       {{"model_type", "llama"},
        {"hidden_size", 32},
        {"intermediate_size", 64},
        {"num_hidden_layers", 2},
        {"num_attention_heads", 4},
        {"num_key_value_heads", 2},
        {"initializer_range", 0.3},
        {"max_position_embeddings", 128},
        {"vocab_size", kText}}}};
  return Policy::init(PolicyConfig::from_json(json, "images"), 5);
}

std::vector<GenerationRequest> requests() {
  std::vector<GenerationRequest> out;
  for (int i = 0; i < 4; ++i) {
    GenerationRequest& request = out.emplace_back();
    request.prompt = {2, 5, 7, static_cast<TokenId>(4 + i)};
    for (int n = 0; n < 9 * i; ++n) request.prompt.push_back(static_cast<TokenId>(4 + n % 7));
    if (i != 1)
      request.prompt.push_back(kBegin);  // that one writes text, and draws if it begins to
    request.samples = 3 + i;
    request.problem = static_cast<uint32_t>(i);
    request.seed = 8;
    request.sampling.max_tokens = 40;
    if (i == 2) request.sampling.top_k = 3;
    if (i == 3) request.sampling.temperature = 0.8;
  }
  return out;
}

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

// Log-probs of a sample by the trainer's packing.
std::vector<float> scored(const Weights& weights, const GenerationRequest& request,
                          const Sample& sample) {
  TargetBatch batch;
  std::vector<TokenId> child = {request.prompt.back()};
  child.insert(child.end(), sample.tokens.begin(), sample.tokens.end() - 1);
  batch.packed.add_group(std::span(request.prompt).first(request.prompt.size() - 1),
                         std::vector<std::span<const TokenId>>{child});
  batch.packed.finish();
  batch.target.assign(sample.tokens.begin(), sample.tokens.end());
  batch.temperature.assign(sample.tokens.size(), static_cast<float>(request.sampling.temperature));
  if (!sample.kept_offsets.empty()) {
    for (size_t t = 0; t < sample.tokens.size(); ++t)
      batch.kept.push_back(std::span(sample.kept_ids)
                               .subspan(sample.kept_offsets[t],
                                        sample.kept_offsets[t + 1] - sample.kept_offsets[t]));
  }
  Scorer scorer;
  scorer.forward(weights, batch);
  std::vector<float> out(sample.tokens.size());
  scorer.score(weights, batch, batch.responses(), out.data(), nullptr);
  return out;
}

}  // namespace

TEST_CASE("images are drawn whole, by the log-probs that training finds, in any batch") {
  for (const double guidance : {1.0, 3.0}) {
    CAPTURE(guidance);
    const auto policy = policy_of(guidance);
    const auto list = requests();
    LocalSampler wide(policy->weights(), nullptr, {});
    const auto samples = wide.generate(list);
    EngineConfig narrow;
    narrow.max_batch = 2;
    narrow.prefill_chunk = 3;
    narrow.cache_pages = 14;
    narrow.draft_tokens = 3;
    LocalSampler small(policy->weights(), nullptr, narrow);
    const auto again = small.generate(list);
    for (size_t i = 0; i < list.size(); ++i) {
      for (size_t s = 0; s < samples[i].size(); ++s) {
        const Sample& sample = samples[i][s];
        CHECK(sample.tokens == again[i][s].tokens);
        CHECK(same_bytes(sample.logprobs, again[i][s].logprobs));
        CHECK(same_bytes(sample.entropies, again[i][s].entropies));
        CHECK(same_bytes(sample.logprobs, scored(*policy->weights(), list[i], sample)));
        if (i == 1) continue;
        CHECK(sample.tokens.size() == 20);
        CHECK(sample.finish == FinishReason::kStop);
        for (const TokenId id : sample.tokens) CHECK(id >= kText);
      }
      std::vector<Sample> claimed = samples[i];
      CHECK(fleet::check_shape(list[i], policy->config(), nullptr, false, claimed) == "");
      CHECK(fleet::audit(*policy->weights(), list[i], claimed).honest());
    }
  }
}

TEST_CASE("without the branch that sees it the prompt changes nothing") {
  // Guidance 0 leaves the branch of padding alone.
  const auto policy = policy_of(0);
  std::vector<GenerationRequest> list = requests();
  list.resize(1);
  list.push_back(list[0]);
  list[1].prompt[1] = 9;
  const auto samples = LocalSampler(policy->weights(), nullptr, {}).generate(list);
  for (size_t s = 0; s < samples[0].size(); ++s)
    CHECK(samples[0][s].tokens == samples[1][s].tokens);
}

}  // namespace zeroth
