#include "policy/scoring.h"

#include <algorithm>

#include "core/error.h"
#include "policy/packing.h"

namespace zeroth {
namespace {

// A packed batch in which every row but the last of a sequence is given its target.
struct TargetBatch {
  PackedBatch packed;
  std::vector<int32_t> targets;
  std::vector<float> temperature;

  explicit TargetBatch(std::span<const std::vector<TokenId>> sequences) {
    for (const std::vector<TokenId>& ids : sequences) {
      packed.add(std::span(ids).first(ids.size() - 1));
      targets.insert(targets.end(), ids.begin() + 1, ids.end());
    }
    packed.finish();
    temperature.assign(targets.size(), 1.0f);
  }
};

// Calls pass(begin, end) for ranges of sequences of about batch_tokens rows.
template <class Pass>
void for_each_pass(const PolicyConfig& config, std::span<const std::vector<TokenId>> sequences,
                   int64_t batch_tokens, const Pass& pass) {
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].empty()) {
      fail("sequence " + std::to_string(i) + " is empty", "give at least one token");
    }
    // The last token is only a target, so forward never sees it.
    const TokenId last = sequences[i].back();
    if (last < 0 || last >= config.vocab_size) {
      fail("token id " + std::to_string(last) + " is outside the vocabulary of " +
               std::to_string(config.vocab_size),
           "use the tokenizer that belongs to the model");
    }
  }
  size_t begin = 0;
  while (begin < sequences.size()) {
    size_t end = begin;
    int64_t rows = 0;
    while (end < sequences.size() && (end == begin || rows < batch_tokens)) {
      rows += static_cast<int64_t>(sequences[end++].size()) - 1;
    }
    pass(sequences.subspan(begin, end - begin));
    begin = end;
  }
}

// Log-probs of every sequence of a batch, from its hidden rows.
void append_logprobs(const Weights& weights, const TargetBatch& batch,
                     const std::vector<float>& hidden, std::vector<std::vector<float>>& out) {
  std::vector<float> logprobs(batch.targets.size());
  weights.logprobs(hidden.data(), batch.packed.rows(), batch.targets.data(),
                   batch.temperature.data(), {}, logprobs.data(), nullptr);
  for (int i = 0; i < batch.packed.sequences(); ++i) {
    const auto [row, rows] = batch.packed.segment(i);
    out.emplace_back(logprobs.begin() + row, logprobs.begin() + row + rows);
  }
}

}  // namespace

std::vector<std::vector<float>> score_sequences(const Weights& weights,
                                                std::span<const std::vector<TokenId>> sequences,
                                                int64_t batch_tokens) {
  std::vector<std::vector<float>> out;
  for_each_pass(weights.config(), sequences, batch_tokens, [&](auto part) {
    const TargetBatch batch(part);
    KvCache cache(weights.config(), batch.packed.pages());
    std::vector<float> hidden(batch.packed.rows() * weights.config().width);
    weights.forward(batch.packed.view(), cache, hidden.data());
    append_logprobs(weights, batch, hidden, out);
  });
  return out;
}

std::vector<std::vector<float>> score_sequences(const Policy& policy,
                                                std::span<const std::vector<TokenId>> sequences,
                                                std::span<float> grads, int64_t batch_tokens,
                                                Activations::Mode mode) {
  std::vector<std::vector<float>> out;
  Activations activations(mode);
  const int64_t width = policy.config().width;
  for_each_pass(policy.config(), sequences, batch_tokens, [&](auto part) {
    const TargetBatch batch(part);
    const int64_t m = batch.packed.rows();
    KvCache cache(policy.config(), batch.packed.pages());
    std::vector<float> hidden(m * width), dlogprob(m, -1.0f), dhidden(m * width);
    policy.forward(batch.packed.view(), cache, hidden.data(), &activations);
    append_logprobs(*policy.weights(), batch, hidden, out);
    policy.logprobs_backward(hidden.data(), m, batch.targets.data(), batch.temperature.data(), {},
                             dlogprob.data(), nullptr, dhidden.data(), grads);
    policy.backward(batch.packed.view(), cache, activations, dhidden.data(), grads);
  });
  return out;
}

std::vector<TokenId> greedy_continuation(const Weights& weights, std::span<const TokenId> prompt,
                                         int steps) {
  const PolicyConfig& c = weights.config();
  const int64_t total = static_cast<int64_t>(prompt.size()) + steps;
  const int32_t pages = static_cast<int32_t>(total / kernels::kPageTokens + 1);
  KvCache cache(c, pages);
  std::vector<int32_t> table(pages);
  for (int32_t p = 0; p < pages; ++p) table[p] = p;
  const std::vector<int32_t> page_begin = {0, pages};

  std::vector<TokenId> tokens(prompt.begin(), prompt.end()), out;
  std::vector<float> hidden, logits(c.vocab_size);
  int32_t done = 0;  // positions already in the cache
  while (static_cast<int>(out.size()) < steps) {
    const int32_t m = static_cast<int32_t>(tokens.size()) - done;
    std::vector<int32_t> positions(m), sequence(m, 0);
    std::vector<kernels::KvWrite> writes(m);
    for (int32_t i = 0; i < m; ++i) {
      positions[i] = done + i;
      writes[i] = {i, done + i};
    }
    hidden.resize(static_cast<size_t>(m) * c.width);
    weights.forward(
        {std::span(tokens).subspan(done), positions, sequence, table, page_begin, writes}, cache,
        hidden.data());
    weights.logits(hidden.data() + static_cast<int64_t>(m - 1) * c.width, 1, logits.data());
    const auto best = std::max_element(logits.begin(), logits.end());
    done = static_cast<int32_t>(tokens.size());
    out.push_back(static_cast<TokenId>(best - logits.begin()));
    tokens.push_back(out.back());
  }
  return out;
}

}  // namespace zeroth
