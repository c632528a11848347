#include "policy/scoring.h"

#include <algorithm>

#include "core/error.h"
#include "model/image_codes.h"
#include "policy/packing.h"

namespace zeroth {
void TargetBatch::clear() {
  packed.clear();
  target.clear();
  temperature.clear();
  kept.clear();
  experts.clear();
  replay = false;
}

ForwardBatch TargetBatch::view() const {
  ForwardBatch batch = packed.view();
  batch.recorded = {experts, replay};
  return batch;
}

void Scorer::prepare(const Weights& weights, const PackedBatch& batch) {
  const PolicyConfig& config = weights.config();
  hidden_.on(weights.operators().device());
  gathered_.on(weights.operators().device());
  hidden_.get(batch.rows() * hidden_width(config));
  const bool here = cache_ && &cache_->device() == &weights.operators().device();
  if (here && cache_->pages() >= batch.pages()) return;
  cache_ = nullptr;  // free the old one first
  cache_ =
      std::make_unique<KvCache>(config, batch.pages() + batch.pages() / 4, weights.operators());
}

void Scorer::take_responses(const Weights& weights, const PackedBatch& batch) {
  const int64_t width = hidden_width(weights.config());
  const auto parts = batch.response_rows();
  if (parts.size() == 1) {
    responses_ = hidden_.data() + parts[0].row * width;
    return;
  }
  kernels::At<float> to = gathered_.get(batch.responses() * width);
  for (const PackedBatch::Segment& part : parts) {
    weights.operators().copy(hidden_.data() + part.row * width, to, part.rows * width);
    to += part.rows * width;
  }
  responses_ = gathered_.data();
}

void Scorer::forward(const Weights& weights, const TargetBatch& batch,
                     const ForwardExtras& extras) {
  prepare(weights, batch.packed);
  weights.forward(batch.view(), *cache_, hidden_.data(), extras);
  take_responses(weights, batch.packed);
}

void Scorer::recall(const Weights& weights, const TargetBatch& batch, Activations& save,
                    RouterStats* stats, const ActivationStore& store,
                    std::span<const int32_t> store_rows) {
  prepare(weights, batch.packed);
  weights.recall(batch.view(), *cache_, hidden_.data(), save, stats, store, store_rows);
  take_responses(weights, batch.packed);
}

void Scorer::score(const Weights& weights, const TargetBatch& batch, int64_t rows, float* logprob,
                   float* entropy) const {
  const std::span<const kernels::KeptSet> kept = batch.kept;
  weights.logprobs(responses_, rows, batch.target.data(), batch.temperature.data(),
                   kept.first(std::min<size_t>(kept.size(), rows)), logprob, entropy);
}

void for_each_pass(const PolicyConfig& config, std::span<const std::vector<TokenId>> sequences,
                   int64_t batch_tokens, const std::function<void(const TargetBatch&)>& pass) {
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
  TargetBatch batch;
  for (size_t next = 0; next < sequences.size();) {
    batch.clear();
    do {
      const std::vector<TokenId>& ids = sequences[next++];
      batch.packed.begin_part();
      batch.packed.add(std::span(ids).first(ids.size() - 1));
      batch.target.insert(batch.target.end(), ids.begin() + 1, ids.end());
    } while (next < sequences.size() && batch.responses() < batch_tokens);
    batch.packed.finish();
    batch.temperature.assign(batch.target.size(), 1.0f);
    pass(batch);
  }
}

void append_by_sequence(const TargetBatch& batch, std::span<const float> values,
                        std::vector<std::vector<float>>& out) {
  size_t at = 0;
  for (int i = 0; i < batch.packed.sequences(); ++i) {
    const auto part = values.subspan(at, batch.packed.segment(i).rows);
    out.emplace_back(part.begin(), part.end());
    at += part.size();
  }
}

std::vector<std::vector<float>> score_sequences(const Weights& weights,
                                                std::span<const std::vector<TokenId>> sequences,
                                                int64_t batch_tokens) {
  std::vector<std::vector<float>> out;
  std::vector<float> logprobs;
  Scorer scorer;
  for_each_pass(weights.config(), sequences, batch_tokens, [&](const TargetBatch& batch) {
    scorer.forward(weights, batch);
    logprobs.resize(batch.target.size());
    scorer.score(weights, batch, batch.responses(), logprobs.data(), nullptr);
    append_by_sequence(batch, logprobs, out);
  });
  return out;
}

std::vector<TokenId> greedy_continuation(const Weights& weights, std::span<const TokenId> prompt,
                                         int steps) {
  const PolicyConfig& c = weights.config();
  const int64_t total = static_cast<int64_t>(prompt.size()) + steps;
  const int32_t pages = static_cast<int32_t>(total / kernels::kPageTokens + 1);
  KvCache cache(c, pages, weights.operators());
  std::vector<int32_t> table(pages);
  for (int32_t p = 0; p < pages; ++p) table[p] = p;
  const std::vector<int32_t> page_begin = {0, pages};

  std::vector<TokenId> tokens(prompt.begin(), prompt.end()), out;
  const kernels::Device& device = weights.operators().device();
  kernels::Array<float> hidden(device), logits(device);
  int32_t done = 0;  // positions already in the cache
  while (static_cast<int>(out.size()) < steps) {
    const int32_t m = static_cast<int32_t>(tokens.size()) - done;
    std::vector<int32_t> positions(m), sequence(m, 0);
    std::vector<kernels::KvWrite> writes(m);
    for (int32_t i = 0; i < m; ++i) {
      positions[i] = done + i;
      writes[i] = {i, done + i};
    }
    hidden.get(int64_t{m} * hidden_width(c));
    weights.forward(
        {std::span(tokens).subspan(done), positions, sequence, table, page_begin, writes}, cache,
        hidden.data());
    weights.logits(hidden.data() + int64_t{m - 1} * hidden_width(c), 1, logits.get(text_vocab(c)));
    const kernels::OnHost<float> last(device, logits.data(), text_vocab(c));
    const auto best = std::max_element(last.values().begin(), last.values().end());
    done = static_cast<int32_t>(tokens.size());
    out.push_back(static_cast<TokenId>(best - last.values().begin()));
    tokens.push_back(out.back());
  }
  return out;
}

}  // namespace zeroth
