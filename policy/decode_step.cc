#include "policy/decode_step.h"

#include <algorithm>
#include <bit>

#include "kernels/stretch.h"

namespace zeroth {

bool DecodeStep::is_one(const ForwardBatch& batch) {
  const size_t m = batch.tokens.size();
  if (m == 0 || batch.writes.size() != m || batch.page_begin.size() != m + 1) return false;
  for (size_t i = 0; i < m; ++i) {
    if (batch.sequence[i] != static_cast<int32_t>(i)) return false;
    if (batch.writes[i].row != static_cast<int32_t>(i)) return false;
  }
  return batch.parts.empty() && batch.recorded.experts.empty();
}

int64_t DecodeStep::rows_for(int64_t rows) {
  if (rows <= 16) return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  return (rows + 15) / 16 * 16;
}

int64_t DecodeStep::bound_of(const ForwardBatch& batch) {
  int32_t last = 63;
  for (const int32_t position : batch.positions) last = std::max(last, position);
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint32_t>(last) + 1));
}

ForwardBatch DecodeStep::fill(const ForwardBatch& batch) {
  const auto filled = [m = rows_for(static_cast<int64_t>(batch.tokens.size()))](auto& to,
                                                                                const auto& from) {
    to.assign(from.begin(), from.end());
    to.resize(static_cast<size_t>(m), from.back());
  };
  filled(tokens_, batch.tokens);
  filled(positions_, batch.positions);
  filled(sequence_, batch.sequence);
  filled(writes_, batch.writes);
  for (size_t i = batch.tokens.size(); i < writes_.size(); ++i) {
    writes_[i] = {static_cast<int32_t>(i), kernels::kNoSlot};
  }
  ForwardBatch out = batch;
  out.tokens = tokens_;
  out.positions = positions_;
  out.sequence = sequence_;
  out.writes = writes_;
  return out;
}

}  // namespace zeroth
