// Dual chunk attention (An et al., "Training-Free Long-Context Scaling of Large Language Models",
// 2024; Qwen2.5-1M): full attention in which no relative position exceeds what training has seen.
// With chunk_len = chunk_size - local_size a key at p is rotated by p mod chunk_len, and a query at
// p by p mod chunk_len towards keys of its own chunk, by min(p mod chunk_len + chunk_len,
// chunk_size) towards those of the chunk before, by min(2 chunk_len - 1, chunk_size) towards all
// older ones. Below chunk_len this is plain rotary attention, bit for bit. (vLLM also scales scores
// by the length of the whole sequence; that would make a log-prob depend on what follows it, and is
// left out.)
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/operators.h"
#include "model/buffer.h"
#include "model/config.h"

namespace zeroth {

// One call's rows, taken apart by what their queries see. The cache's pages are whole chunks' pages
// (chunk_len is a multiple of kPageTokens), so each part is the standard operator on sequences of
// its own. Reusable; not thread safe.
class DualChunks {
 public:
  // Rotation of every row's own query and key: position mod chunk_len. Valid until the next call.
  std::span<const int32_t> own_positions(const PolicyConfig& config,
                                         std::span<const int32_t> positions);

  // ops.attention for q [m, heads * k_dim] that is rotated by own_positions.
  void forward(const kernels::Operators& ops, const PolicyConfig& config,
               const kernels::KvPages& cache, const kernels::AttentionRows& rows, const float* cos,
               const float* sin, const float* q, int64_t ldq, float* out, float* lse);
  // ops.attention_backward; dq belongs to q as forward takes it.
  void backward(const kernels::Operators& ops, const PolicyConfig& config,
                const kernels::KvPages& cache, const kernels::AttentionRows& rows, const float* cos,
                const float* sin, const float* q, int64_t ldq, const float* out, const float* lse,
                const float* dout, float* dq, int64_t lddq, const kernels::KvPages& dcache);

 private:
  enum Region { kOwn, kBefore, kOlder, kRegions };
  // Rows of one region as the attention operator takes them.
  struct Part {
    std::vector<int32_t> row;    // in the call
    std::vector<int32_t> delta;  // what rotates the query on from its own position
    std::vector<int32_t> sequence, position, page_table, page_begin;
    kernels::AttentionRows view() const { return {sequence, position, page_table, page_begin, 0}; }
  };
  void split(const PolicyConfig& config, const kernels::AttentionRows& rows);
  // Queries of a part, rotated for it, in q_.
  void gather_queries(const kernels::Operators& ops, const PolicyConfig& config, const Part& part,
                      const float* cos, const float* sin, const float* q, int64_t ldq);

  Part parts_[kRegions];
  std::vector<int32_t> own_;
  Floats q_, out_[kRegions], lse_[kRegions], dq_, dout_;
};

}  // namespace zeroth
