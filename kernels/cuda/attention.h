// Attention over the paged cache on a device: what kernels/attention.h does, with the same bits.
// All pointers are the device's. Calls start kernels on a stream and return. A page holds the same
// positions in every sequence that it belongs to.
#pragma once

#include <cstdint>

#include "kernels/attention.h"
#include "kernels/cuda/products.h"

namespace zeroth::kernels::cuda {

// kernels/attention.h's AttentionRows on the device, and what the host knows of them.
struct PagedRows {
  const int32_t* sequence = nullptr;    // [count]
  const int32_t* position = nullptr;    // [count]
  const int32_t* page_table = nullptr;  // [entries]
  const int32_t* page_begin = nullptr;  // [sequences + 1]
  int64_t count = 0, entries = 0, sequences = 0;
  int window = 0;
  int64_t longest = 0;  // no position is as large
  // Neighbouring rows are mostly of one sequence: they share what is read. Changes no result.
  bool in_runs = false;
};

// What PagedRows says of rows that only the device knows: survey[0] = `longest`, survey[1] = how
// many rows are of the sequence of the row before them.
void survey_rows(Stream stream, const int32_t* sequence, const int32_t* position, int64_t count,
                 int64_t* survey);

// Floats of workspace that attention() can use; with fewer it takes fewer rows at a time. 0: it
// needs none, because the scores of a block fit into its shared memory.
int64_t attention_workspace(const KvPages& cache, const PagedRows& rows, int heads);
// lse may be null. Throws Error when the heads do not divide, or the workspace holds less than one
// block's scores.
void attention(Stream stream, const float* q, int64_t ldq, const KvPages& cache,
               const PagedRows& rows, float scale, int heads, float* out, int64_t ldout, float* lse,
               const Workspace& workspace = {});

// Floats of workspace of attention_backward().
int64_t attention_backward_workspace(const KvPages& cache, const PagedRows& rows, int heads);
void attention_backward(Stream stream, const float* q, int64_t ldq, const KvPages& cache,
                        const PagedRows& rows, float scale, int heads, const float* out,
                        int64_t ldout, const float* lse, const float* dout, int64_t lddout,
                        float* dq, int64_t lddq, const KvPages& dcache, const Workspace& workspace);

}  // namespace zeroth::kernels::cuda
