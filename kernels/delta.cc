#include "kernels/delta.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/parallel.h"
#include "kernels/cpu/table.h"
#include "kernels/scratch.h"

namespace zeroth::kernels {
namespace {

constexpr int64_t kLanes = 16;

void clear(float* at, int64_t n) { std::memset(at, 0, static_cast<size_t>(n) * sizeof(float)); }

void copy_to(float* to, const float* from, int64_t n) {
  std::memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

template <class Body>
void for_rows(int64_t m, int64_t grain, const Body& body) {
  parallel_for(m, grain, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) body(i);
  });
}

}  // namespace

void split_groups(const float* x, int64_t ldx, const GroupSplit& split, float* y, int64_t ldy,
                  int64_t m) {
  for_rows(m, 32, [&](int64_t i) {
    const float* from = x + i * ldx;
    for (int64_t g = 0; g < split.groups; ++g)
      for (int p = 0; p < split.parts; ++p) {
        const int64_t width = split.width[p];
        if (split.to[p] >= 0) copy_to(y + i * ldy + split.to[p] + g * width, from, width);
        from += width;
      }
  });
}

void join_groups(const float* y, int64_t ldy, const GroupSplit& split, float* x, int64_t ldx,
                 int64_t m) {
  for_rows(m, 32, [&](int64_t i) {
    float* to = x + i * ldx;
    for (int64_t g = 0; g < split.groups; ++g)
      for (int p = 0; p < split.parts; ++p) {
        const int64_t width = split.width[p];
        if (split.to[p] >= 0) copy_to(to, y + i * ldy + split.to[p] + g * width, width);
        to += width;
      }
  });
}

void write_slots(float* slots, int64_t ldslot, int64_t column, std::span<const KvWrite> writes,
                 const float* x, int64_t ldx, int64_t width) {
  for_rows(static_cast<int64_t>(writes.size()), 16, [&](int64_t i) {
    copy_to(slots + writes[i].slot * ldslot + column, x + writes[i].row * ldx, width);
  });
}

// --- convolution

namespace {

// w [channels, taps] -> [taps, channels].
void turn(const float* w, int64_t taps, int64_t channels, float* to) {
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t j = 0; j < taps; ++j) to[j * channels + c] = w[c * taps + j];
}

}  // namespace

void causal_conv(const float* x, int64_t ldx, const float* w, int64_t taps,
                 std::span<const int64_t> past, const float* slots, int64_t ldslot, float* y,
                 int64_t ldy, int64_t m, int64_t channels) {
  const Table& isa = table();
  float* const turned = thread_scratch(Slot::kOperator, taps * channels);
  turn(w, taps, channels, turned);
  const ConvRows rows{x, ldx, turned, taps, channels, past.data(), slots, ldslot};
  parallel_for(m, std::max<int64_t>(1, 4096 / channels),
               [&](int64_t begin, int64_t end) { isa.conv_rows(rows, y, ldy, begin, end); });
}

void causal_conv_backward(const float* dy, int64_t lddy, const float* x, int64_t ldx,
                          const float* w, int64_t taps, std::span<const int64_t> past,
                          const float* slots, int64_t ldslot, float* dx, int64_t lddx, float* dw,
                          int64_t m, int64_t channels, RowParts parts) {
  const Table& isa = table();
  float* const turned = thread_scratch(Slot::kOperator, (2 * taps + m) * channels);
  float* const sums = turned + taps * channels;
  float* const dz = sums + taps * channels;
  turn(w, taps, channels, turned);
  const ConvRows rows{x, ldx, turned, taps, channels, past.data(), slots, ldslot};
  parallel_for(m, std::max<int64_t>(1, 4096 / channels), [&](int64_t begin, int64_t end) {
    isa.conv_slopes(rows, dy, lddy, dz, begin, end);
    for (int64_t i = begin; i < end; ++i) clear(dx + i * lddx, channels);
  });
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, kReductionChunk, chunks);
  for_rows((channels + kLanes - 1) / kLanes, 1, [&](int64_t block) {
    const int64_t i = block * kLanes, lanes = std::min(kLanes, channels - i);
    for (const RowChunk& chunk : chunks) {
      for (int64_t j = 0; j < taps; ++j) clear(sums + j * channels + i, lanes);
      isa.conv_gradients(rows, dz, dx, lddx, sums, chunk.begin, chunk.end, i,
                         static_cast<int>(lanes));
      for (int64_t c = i; c < i + lanes; ++c)
        for (int64_t j = 0; j < taps; ++j) dw[c * taps + j] += sums[j * channels + c];
    }
  });
}

// --- gates

void delta_gates(const float* x, int64_t ldx, const float* a_log, const float* dt_bias,
                 float* gates, int64_t m, int64_t heads) {
  const Table& isa = table();
  for_rows(m, 64, [&](int64_t i) {
    isa.delta_gates(x + i * ldx, a_log, dt_bias, gates + i * 2 * heads, heads);
  });
}

void delta_gates_backward(const float* dgates, const float* x, int64_t ldx, const float* a_log,
                          const float* dt_bias, const float* gates, float* dx, int64_t lddx,
                          float* da_log, float* ddt_bias, int64_t m, int64_t heads,
                          RowParts parts) {
  const Table& isa = table();
  float* const d = thread_scratch(Slot::kOperator, (m + 1) * 2 * heads);
  for_rows(m, 64, [&](int64_t i) {
    const int64_t at = i * 2 * heads;
    isa.delta_gates_backward(dgates + at, x + i * ldx, a_log, dt_bias, gates + at, dx + i * lddx,
                             d + at, heads);
  });
  std::vector<RowChunk> chunks;
  cut_chunks(0, m, parts, kReductionChunk, chunks);
  float* const sums = d + m * 2 * heads;
  for (const RowChunk& chunk : chunks) {
    clear(sums, 2 * heads);
    for (int64_t row = chunk.begin; row < chunk.end; ++row)
      isa.add(sums, d + row * 2 * heads, sums, 2 * heads);
    isa.add(da_log, sums, da_log, heads);
    isa.add(ddt_bias, sums + heads, ddt_bias, heads);
  }
}

}  // namespace zeroth::kernels
