#include "learn/backend_check.h"

#include <algorithm>
#include <vector>

#include "core/rng.h"
#include "learn/learner.h"
#include "model/image_codes.h"

namespace zeroth {
namespace {

// More than a page of the cache, so that samples share one and copy another.
constexpr int kPromptTokens = kernels::kPageTokens + 5;
constexpr int kSamples = 3, kSampleTokens = 6;

std::vector<TokenId> random_tokens(const PolicyConfig& config, int64_t n, uint32_t stream) {
  const ImageCodes codes = image_codes(config);
  Rng rng(1, stream);
  std::vector<TokenId> out;
  for (int64_t i = 0; i < n; ++i) {
    out.push_back(static_cast<TokenId>(rng.below(text_vocab(config))));
    if (codes.before_code(out.back())) out.back() = codes.pad;
  }
  return out;
}

// Samples of one prompt, drawn token by token through the paged cache: the first page is shared,
// the second copied for each.
std::vector<std::vector<TokenId>> draw(const Weights& weights, std::span<const TokenId> prompt) {
  const PolicyConfig& c = weights.config();
  KvCache cache(c, 2 * kSamples, weights.operators());
  const auto length = static_cast<int32_t>(prompt.size());
  const kernels::Operators& ops = weights.operators();
  kernels::Array<float> hidden(ops.device(), std::max<int64_t>(length, kSamples) * hidden_width(c));
  kernels::Array<float> last(ops.device(), hidden_width(c));
  std::vector<int32_t> positions, sequence, table, page_begin = {0, 2};
  std::vector<kernels::KvWrite> writes;
  for (int32_t i = 0; i < length; ++i) {
    positions.push_back(i);
    sequence.push_back(0);
    writes.push_back({i, i});
  }
  table = {0, 1};
  weights.forward({prompt, positions, sequence, table, page_begin, writes}, cache, hidden.data());
  const int64_t width = hidden_width(c);
  ops.copy(hidden.data() + (length - 1) * width, last.data(), width);
  for (int s = 0; s < kSamples; ++s) ops.copy(last.data(), hidden.data() + s * width, width);

  table.clear();
  page_begin = {0};
  for (int32_t s = 0; s < kSamples; ++s) {
    if (s > 0) cache.copy_page(1, 1 + s);
    table.insert(table.end(), {0, 1 + s});
    page_begin.push_back(2 * (s + 1));
  }
  const std::vector<kernels::SampleParams> params = {
      {.temperature = 1}, {.temperature = 0}, {.temperature = 0.8f, .top_k = 20, .top_p = 0.9f}};
  std::vector<StreamKey> keys(kSamples);
  for (int s = 0; s < kSamples; ++s) keys[s].sample = s;
  std::vector<std::vector<TokenId>> samples(kSamples);
  std::vector<TokenId> tokens(kSamples);
  std::vector<float> logprob(kSamples), entropy(kSamples);
  std::vector<std::vector<int32_t>> kept(kSamples);
  for (int t = 0; t < kSampleTokens; ++t) {
    const std::vector<uint32_t> at(kSamples, t);
    weights.sample(hidden.data(), kSamples, params.data(), keys.data(), at.data(), tokens.data(),
                   logprob.data(), entropy.data(), kept.data());
    positions.assign(kSamples, length + t);
    sequence.clear();
    writes.clear();
    for (int32_t s = 0; s < kSamples; ++s) {
      samples[s].push_back(tokens[s]);
      sequence.push_back(s);
      const int64_t token = (length + t) % kernels::kPageTokens;
      writes.push_back({s, int64_t{1 + s} * kernels::kPageTokens + token});
    }
    weights.forward({tokens, positions, sequence, table, page_begin, writes}, cache, hidden.data());
  }
  return samples;
}

// Rows of a sequence go to the last experts, whatever the routers choose.
void replay_last_experts(const PolicyConfig& config, int sequence, TargetBatch& batch) {
  if (!config.is_moe()) return;
  const int64_t k = config.router.top_k, row = config.moe_layers() * k;
  batch.experts.assign(batch.packed.rows() * row, RecordedRouting::kNone);
  const auto [first, rows] = batch.packed.segment(sequence);
  for (int64_t i = first * row; i < (first + rows) * row; ++i)
    batch.experts[i] = static_cast<uint16_t>(config.router.experts - k + i % k);
  batch.replay = true;
}

// One update on such samples and on sequences of their own, in two parts.
void update(Policy& policy, std::span<const TokenId> prompt,
            std::span<const std::vector<TokenId>> samples) {
  Learner learner(policy, {});
  TargetBatch batch;
  const auto predict = [&](std::span<const TokenId> tokens) {
    batch.target.insert(batch.target.end(), tokens.begin(), tokens.end());
  };
  batch.packed.begin_part();
  std::vector<std::vector<TokenId>> rows;  // the prompt's last token, and all but the sample's last
  std::vector<std::span<const TokenId>> children;
  for (const std::vector<TokenId>& sample : samples) {
    rows.push_back({prompt.back()});
    rows.back().insert(rows.back().end(), sample.begin(), sample.end() - 1);
    predict(sample);
  }
  for (const std::vector<TokenId>& row : rows) children.emplace_back(row);
  batch.packed.add_group(prompt.first(prompt.size() - 1), children);
  batch.packed.begin_part();
  const std::vector<TokenId> alone = random_tokens(policy.config(), 12, 1);
  const int last = batch.packed.add(std::span(alone).first(alone.size() - 1));
  predict(std::span(alone).subspan(1));
  batch.packed.finish();
  batch.temperature.assign(batch.target.size(), 0.9f);
  replay_last_experts(policy.config(), last, batch);

  std::vector<float> logprob(batch.target.size()), entropy(batch.target.size());
  learner.begin();
  learner.forward(batch, logprob.data(), entropy.data());
  std::vector<float> dlogprob, dentropy(batch.target.size(), 0.01f);
  for (size_t i = 0; i < batch.target.size(); ++i) dlogprob.push_back(i % 3 == 0 ? 0.5f : -1.0f);
  const BalanceLoss balance{.coef = 0.01, .responses = batch.responses()};
  learner.accumulate(batch, dlogprob.data(), dentropy.data(), balance);
  learner.reduce();
  learner.step(1e-4);
  learner.publish();
}

}  // namespace

int64_t BackendCheck::all_calls() const {
  int64_t n = 0;
  for (const auto& [op, count] : calls) n += count;
  return n;
}

BackendCheck check_backends(const std::filesystem::path& model, kernels::Element element,
                            const kernels::Operators& first, const kernels::Operators& second,
                            const kernels::CheckBounds& bounds) {
  const auto checked = kernels::CheckedOperators::make(first, second, bounds);
  {
    const std::unique_ptr<Policy> policy = Policy::load(model, element, *checked);
    auto prompt = random_tokens(
        policy->config(), std::min<int64_t>(kPromptTokens, policy->config().max_position / 2), 0);
    if (const ImageCodes codes = image_codes(policy->config()); codes.present())
      prompt.back() = codes.begin;
    const auto samples = draw(*policy->weights(), prompt);
    update(*policy, prompt, samples);
    policy->weights()->sha256();
  }
  return {checked->difference(), checked->calls()};
}

}  // namespace zeroth
