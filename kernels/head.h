// The fused language-model head: hidden rows in; log-probs, entropies, samples or gradients out.
// Logits exist only as a scratch tile of a few rows, never as [rows, vocabulary]. The sampler and
// the trainer use the same row function, so a log-prob recorded while sampling equals the trainer's
// bit for bit.
#pragma once

#include "core/rng.h"
#include "kernels/ops.h"

namespace zeroth::kernels {

// How one row is turned into a token.
struct SampleParams {
  float temperature =
      1;  // > 0; 0 = greedy (argmax, ties to the lowest id; log-prob reported at temperature 1)
  int top_k = 0;    // keep the k largest; 0 = all
  float top_p = 1;  // keep the smallest set of most likely tokens whose mass reaches top_p; 1 = all
  float min_p = 0;  // keep tokens with p >= min_p * p_max; 0 = all
  bool truncated() const { return top_k > 0 || top_p < 1 || min_p > 0; }
};

// A kept set for teacher forcing under truncated sampling: log-softmax runs over these ids only.
// Empty = whole vocabulary.
using KeptSet = std::span<const int32_t>;

// In all four: cap > 0 lets every logit z be cap tanh(z / cap) before anything else (Gemma Team,
// "Gemma 2", 2024, section 2).

// Teacher-forced statistics of rows hidden [m, width] through W [vocab, width] (packed).
// logprob[i] = log softmax(logits / temperature)[target[i]]; entropy (nats) and lse may be null.
// kept: empty, or m sets.
void head_logprobs(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, float* logprob,
                   float* entropy, float* lse, int64_t m, float cap = 0);

// Draws one token per row: inverse CDF over ascending ids with the uniform of (key, position); the
// result depends only on the row, the key and the position. kept_out (may be null): m vectors,
// filled when the row's params truncate.
void head_sample(const float* hidden, int64_t ld, const PackedMatrix& w, const SampleParams* params,
                 const StreamKey* key, const uint32_t* position, int32_t* token, float* logprob,
                 float* entropy, std::vector<int32_t>* kept_out, int64_t m, float cap = 0);

// Gradient of sum_i dlogprob[i] * logprob[i] + dentropy[i] * entropy[i] (dentropy may be null).
// dhidden = ; dw [vocab, width] += (may be null: head frozen).
void head_backward(const float* hidden, int64_t ld, const PackedMatrix& w, const int32_t* target,
                   const float* temperature, std::span<const KeptSet> kept, const float* dlogprob,
                   const float* dentropy, float* dhidden, int64_t lddh, float* dw, int64_t m,
                   RowParts parts = {}, float cap = 0);

// Plain logits of a few rows, out [m, vocab]: for tests, `zeroth check parity` and inspection only.
void head_logits(const float* hidden, int64_t ld, const PackedMatrix& w, float* logits, int64_t m,
                 float cap = 0);

}  // namespace zeroth::kernels
