// The head on a device: what kernels/head.h makes of rows of logits, with the same bits. Logits
// [m, ld] come from linear(). All pointers are the device's. Calls start kernels on a stream and
// return; targets and kept sets have been checked by the host.
#pragma once

#include <cstdint>

#include "core/rng.h"
#include "kernels/cuda/stream.h"
#include "kernels/head.h"

namespace zeroth::kernels::cuda {

struct LogitRows {
  float* logits = nullptr;
  int64_t ld = 0, vocab = 0, m = 0;
  float cap = 0;  // above 0: softcap was called, and head_gradient goes through it
};
// Every logit z becomes cap tanh(z / cap), with rows.cap > 0.
void softcap(Stream stream, const LogitRows& rows);
// Ids in ascending order that take the place of the vocabulary: count[row] of them (0: the whole of
// it) at ids + row * ld. ids null: no row has any.
struct KeptRows {
  int32_t* ids = nullptr;
  int32_t* count = nullptr;
  int64_t ld = 0;
};

// entropy and lse may be null.
void head_logprobs(Stream stream, const LogitRows& rows, const int32_t* target,
                   const float* temperature, const KeptRows& kept, float* logprob, float* entropy,
                   float* lse);
// One token a row. kept: room for `vocab` ids a row, filled; its ids may be null when no row
// truncates. Throws Error when the vocabulary is larger than a block can hold (3 million ids).
void head_sample(Stream stream, const LogitRows& rows, const SampleParams* params,
                 const StreamKey* key, const uint32_t* position, int32_t* token, float* logprob,
                 float* entropy, const KeptRows& kept);
// Logits become the gradient of sum_i dlogprob[i] * logprob[i] + dentropy[i] * entropy[i] by them;
// dentropy may be null.
void head_gradient(Stream stream, const LogitRows& rows, const int32_t* target,
                   const float* temperature, const KeptRows& kept, const float* dlogprob,
                   const float* dentropy);

}  // namespace zeroth::kernels::cuda
