#include "policy/dual_chunk.h"

#include <algorithm>
#include <map>

namespace zeroth {

using namespace kernels;

At<const int32_t> DualChunks::own_positions(const Device& device, const PolicyConfig& config,
                                            std::span<const int32_t> positions) {
  own_.resize(positions.size());
  for (size_t i = 0; i < positions.size(); ++i) own_[i] = positions[i] % config.chunk_len;
  return staged_own_.put(device, own_).data();
}

void DualChunks::Part::clear() {
  for (auto* list : {&row, &delta, &sequence, &position, &page_table, &page_begin}) list->clear();
}

void DualChunks::Part::stage(const Device& device) {
  rows = {staged[0].put(device, sequence), staged[1].put(device, position),
          staged[2].put(device, page_table), staged[3].put(device, page_begin), 0};
  device_row = staged[4].put(device, row);
  device_delta = staged[5].put(device, delta);
}

void DualChunks::split(const Device& device, const PolicyConfig& config,
                       const AttentionRows& rows) {
  const int32_t length = config.chunk_len, pages = length / kPageTokens;
  for (Part& part : parts_) part.clear();
  // Sequences of a part: some chunks of one of the call's sequences.
  std::map<std::pair<int32_t, int32_t>, int32_t> known[kRegions];
  const auto add = [&](Region region, int32_t row, int32_t chunk, int32_t first_page,
                       int32_t position, int32_t delta) {
    Part& part = parts_[region];
    const int32_t sequence = rows.sequence[row];
    const auto next = static_cast<int32_t>(known[region].size());
    const auto [it, fresh] = known[region].try_emplace({sequence, chunk}, next);
    if (fresh) {
      part.page_begin.push_back(static_cast<int32_t>(part.page_table.size()));
      const int32_t begin = rows.page_begin[sequence] + first_page;
      const int32_t end = std::min(begin + (region == kOlder ? chunk - 1 : 1) * pages,
                                   rows.page_begin[sequence + 1]);
      part.page_table.insert(part.page_table.end(), rows.page_table.begin() + begin,
                             rows.page_table.begin() + end);
    }
    part.row.push_back(row);
    part.delta.push_back(delta);
    part.sequence.push_back(it->second);
    part.position.push_back(position);
  };
  for (size_t i = 0; i < rows.position.size(); ++i) {
    const auto row = static_cast<int32_t>(i);
    const int32_t chunk = rows.position[i] / length, own = rows.position[i] % length;
    add(kOwn, row, chunk, chunk * pages, own, 0);
    if (chunk >= 1) {
      const int32_t to = std::min(own + length, config.chunk_size);
      add(kBefore, row, chunk, (chunk - 1) * pages, length - 1, to - own);
    }
    if (chunk >= 2) {
      const int32_t to = std::min(2 * length - 1, config.chunk_size);
      add(kOlder, row, chunk, 0, (chunk - 1) * length - 1, to - own);
    }
  }
  for (Part& part : parts_) {
    part.page_begin.push_back(static_cast<int32_t>(part.page_table.size()));
    part.stage(device);
  }
  for (auto* array : {&q_, &dq_, &dout_}) array->on(device);
  for (int i = 0; i < kRegions; ++i) {
    out_[i].on(device);
    lse_[i].on(device);
  }
}

void DualChunks::gather_queries(const Operators& ops, const PolicyConfig& config, const Part& part,
                                At<const float> cos, At<const float> sin, At<const float> q,
                                int64_t ldq) {
  const auto n = static_cast<int64_t>(part.row.size());
  const int64_t width = int64_t{config.heads} * config.k_dim();
  At<float> to = q_.get(n * width);
  ops.take_rows(q, ldq, part.device_row, to, width, width);
  turn(ops, config, part, cos, sin, to, false);
}

void DualChunks::turn(const Operators& ops, const PolicyConfig& config, const Part& part,
                      At<const float> cos, At<const float> sin, At<float> q, bool back) {
  const auto n = static_cast<int64_t>(part.row.size());
  const int64_t dim = config.k_dim(), rotated = config.rope_dim();  // the last values of a head
  ops.rope(q + (dim - rotated), config.heads * dim, dim, part.device_delta.data(), cos, sin, n,
           config.heads, static_cast<int>(rotated), config.rope.interleaved, back);
}

void DualChunks::forward(const Operators& ops, const PolicyConfig& config, const DevicePages& cache,
                         const AttentionRows& rows, At<const float> cos, At<const float> sin,
                         At<const float> q, int64_t ldq, At<float> out, At<float> lse) {
  split(ops.device(), config, rows);
  const int64_t heads = config.heads, dim = cache.v_dim, width = heads * dim;
  const float scale = config.attention_scale();
  ops.attention(q, ldq, cache, parts_[kOwn].rows, scale, config.heads, out, width, lse);
  for (const Region region : {kBefore, kOlder}) {
    const Part& part = parts_[region];
    const auto n = static_cast<int64_t>(part.row.size());
    if (n == 0) continue;
    gather_queries(ops, config, part, cos, sin, q, ldq);
    At<float> part_out = out_[region].get(n * width);
    At<float> part_lse = lse_[region].get(n * heads);
    ops.attention(q_.data(), heads * config.k_dim(), cache, part.rows, scale, config.heads,
                  part_out, width, part_lse);
    ops.merge_attention(part_out, part_lse, part.device_row, heads, dim, out, lse);
  }
}

// exp(score - common log-sum-exp) is every key's weight whatever its part, so the standard backward
// with the common output and log-sum-exp gives each part's gradients.
void DualChunks::backward(const Operators& ops, const PolicyConfig& config,
                          const DevicePages& cache, const AttentionRows& rows, At<const float> cos,
                          At<const float> sin, At<const float> q, int64_t ldq, At<const float> out,
                          At<const float> lse, At<const float> dout, At<float> dq, int64_t lddq,
                          const DevicePages& dcache) {
  split(ops.device(), config, rows);
  const int64_t heads = config.heads, width = heads * cache.v_dim;
  const int64_t q_width = heads * config.k_dim();
  const float scale = config.attention_scale();
  ops.attention_backward(q, ldq, cache, parts_[kOwn].rows, scale, config.heads, out, width, lse,
                         dout, width, dq, lddq, dcache);
  for (const Region region : {kBefore, kOlder}) {
    const Part& part = parts_[region];
    const auto n = static_cast<int64_t>(part.row.size());
    if (n == 0) continue;
    gather_queries(ops, config, part, cos, sin, q, ldq);
    At<float> part_out = out_[region].get(n * width);
    At<float> part_lse = lse_[region].get(n * heads);
    At<float> part_dout = dout_.get(n * width);
    At<float> part_dq = dq_.get(n * q_width);
    ops.take_rows(out, width, part.device_row, part_out, width, width);
    ops.take_rows(dout, width, part.device_row, part_dout, width, width);
    ops.take_rows(lse, heads, part.device_row, part_lse, heads, heads);
    ops.attention_backward(q_.data(), q_width, cache, part.rows, scale, config.heads, part_out,
                           width, part_lse, part_dout, width, part_dq, q_width, dcache);
    turn(ops, config, part, cos, sin, part_dq, true);
    ops.add_to_rows(part_dq, q_width, part.device_row, dq, lddq, q_width);
  }
}

}  // namespace zeroth
