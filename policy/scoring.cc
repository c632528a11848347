#include "policy/scoring.h"

#include <algorithm>

#include "core/error.h"
#include "policy/packing.h"

namespace zeroth {
namespace {

// One packed pass over sequences [begin, end).
void score_pass(const Policy& policy, std::span<const std::vector<TokenId>> sequences, size_t begin,
                size_t end, std::span<float> grads, Activations& activations,
                std::vector<std::vector<float>>& out) {
  PackedBatch batch;
  std::vector<int32_t> targets;
  for (size_t i = begin; i < end; ++i) {
    const std::vector<TokenId>& ids = sequences[i];
    batch.add(std::span(ids).first(ids.size() - 1));
    targets.insert(targets.end(), ids.begin() + 1, ids.end());
  }
  batch.finish();
  const int64_t m = batch.rows(), width = policy.config().width;
  KvCache cache(policy.config(), batch.pages());
  std::vector<float> hidden(m * width), logprobs(m), temperature(m, 1.0f);
  policy.forward(batch.view(), cache, hidden.data(), grads.empty() ? nullptr : &activations);
  policy.logprobs(hidden.data(), m, targets.data(), temperature.data(), {}, logprobs.data(),
                  nullptr);
  for (size_t i = begin; i < end; ++i) {
    const PackedBatch::Segment segment = batch.segment(static_cast<int>(i - begin));
    out[i].assign(logprobs.begin() + segment.row, logprobs.begin() + segment.row + segment.rows);
  }
  if (grads.empty()) return;
  std::vector<float> dlogprob(m, -1.0f), dhidden(m * width);
  policy.logprobs_backward(hidden.data(), m, targets.data(), temperature.data(), {},
                           dlogprob.data(), nullptr, dhidden.data(), grads);
  policy.backward(batch.view(), cache, activations, dhidden.data(), grads);
}

}  // namespace

std::vector<std::vector<float>> score_sequences(const Policy& policy,
                                                std::span<const std::vector<TokenId>> sequences,
                                                std::span<float> grads, int64_t batch_tokens,
                                                Activations::Mode mode) {
  std::vector<std::vector<float>> out(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].empty()) {
      fail("sequence " + std::to_string(i) + " is empty", "give at least one token");
    }
    // The last token is only a target, so forward never sees it.
    const TokenId last = sequences[i].back();
    if (last < 0 || last >= policy.config().vocab_size) {
      fail("token id " + std::to_string(last) + " is outside the vocabulary of " +
               std::to_string(policy.config().vocab_size),
           "use the tokenizer that belongs to the model");
    }
  }
  Activations activations(mode);
  size_t begin = 0;
  while (begin < sequences.size()) {
    size_t end = begin;
    int64_t rows = 0;
    while (end < sequences.size() && (end == begin || rows < batch_tokens)) {
      rows += static_cast<int64_t>(sequences[end++].size()) - 1;
    }
    score_pass(policy, sequences, begin, end, grads, activations, out);
    begin = end;
  }
  return out;
}

std::vector<TokenId> greedy_continuation(const Policy& policy, std::span<const TokenId> prompt,
                                         int steps) {
  const PolicyConfig& c = policy.config();
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
    policy.forward(
        {std::span(tokens).subspan(done), positions, sequence, table, page_begin, writes}, cache,
        hidden.data());
    policy.logits(hidden.data() + static_cast<int64_t>(m - 1) * c.width, 1, logits.data());
    const auto best = std::max_element(logits.begin(), logits.end());
    done = static_cast<int32_t>(tokens.size());
    out.push_back(static_cast<TokenId>(best - logits.begin()));
    tokens.push_back(out.back());
  }
  return out;
}

}  // namespace zeroth
