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
#include "model/config.h"

namespace zeroth {

// One call's rows (of the host), taken apart by what their queries see. The cache's pages are whole
// chunks' pages (chunk_len is a multiple of kPageTokens), so each part is the standard operator on
// sequences of its own. Reusable; not thread safe.
class DualChunks {
 public:
  // Rotation of every row's own query and key: position mod chunk_len. Valid until the next call.
  kernels::At<const int32_t> own_positions(const kernels::Device& device,
                                           const PolicyConfig& config,
                                           std::span<const int32_t> positions);

  // ops.attention for q [m, heads * k_dim] that is rotated by own_positions.
  void forward(const kernels::Operators& ops, const PolicyConfig& config,
               const kernels::DevicePages& cache, const kernels::AttentionRows& rows,
               kernels::At<const float> cos, kernels::At<const float> sin,
               kernels::At<const float> q, int64_t ldq, kernels::At<float> out,
               kernels::At<float> lse);
  // ops.attention_backward; dq belongs to q as forward takes it.
  void backward(const kernels::Operators& ops, const PolicyConfig& config,
                const kernels::DevicePages& cache, const kernels::AttentionRows& rows,
                kernels::At<const float> cos, kernels::At<const float> sin,
                kernels::At<const float> q, int64_t ldq, kernels::At<const float> out,
                kernels::At<const float> lse, kernels::At<const float> dout, kernels::At<float> dq,
                int64_t lddq, const kernels::DevicePages& dcache);

 private:
  enum Region { kOwn, kBefore, kOlder, kRegions };
  // Rows of one region as the attention operator takes them.
  struct Part {
    std::vector<int32_t> row;    // in the call
    std::vector<int32_t> delta;  // what rotates the query on from its own position
    std::vector<int32_t> sequence, position, page_table, page_begin;
    kernels::Staged<int32_t> staged[6];
    // The same for operators, after stage().
    kernels::DeviceRows rows;
    kernels::View<const int32_t> device_row, device_delta;
    void clear();
    void stage(const kernels::Device& device);
  };
  void split(const kernels::Device& device, const PolicyConfig& config,
             const kernels::AttentionRows& rows);
  // Queries of a part, rotated for it, in q_.
  void gather_queries(const kernels::Operators& ops, const PolicyConfig& config, const Part& part,
                      kernels::At<const float> cos, kernels::At<const float> sin,
                      kernels::At<const float> q, int64_t ldq);

  // Rotates a part's queries [rows, heads * k_dim] on by its deltas, or back.
  static void turn(const kernels::Operators& ops, const PolicyConfig& config, const Part& part,
                   kernels::At<const float> cos, kernels::At<const float> sin, kernels::At<float> q,
                   bool back);

  Part parts_[kRegions];
  std::vector<int32_t> own_;
  kernels::Staged<int32_t> staged_own_;
  kernels::Array<float> q_, out_[kRegions], lse_[kRegions], dq_, dout_;
};

}  // namespace zeroth
