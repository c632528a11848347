#include "model/parameters.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>

#include "core/error.h"
#include "core/parallel.h"

namespace zeroth {

namespace {

constexpr int64_t kAlign = 16;  // one cache line of floats

int64_t aligned(int64_t floats) { return (floats + kAlign - 1) / kAlign * kAlign; }

}  // namespace

int64_t place(ParameterInfo& info, int64_t end) {
  info.count = 1;
  for (const int64_t size : info.shape) info.count *= size;
  info.offset = info.glued ? end : aligned(end);
  return info.offset + info.count;
}

Parameters::Parameters(std::vector<ParameterInfo> infos) : infos_(std::move(infos)) {
  int64_t end = 0;
  for (ParameterInfo& info : infos_) end = place(info, end);
  const int64_t floats = aligned(end);
  try {
    values_ = ZeroedFloats(floats);
  } catch (const std::exception&) {
    fail("not enough memory for a model of " + std::to_string(floats) + " parameters (" +
             std::to_string(floats >> 18) + " MiB in float32)",
         "use a smaller model or a machine with more memory");
  }
}

const ParameterInfo& Parameters::info(const std::string& name) const {
  const auto it = std::find_if(infos_.begin(), infos_.end(),
                               [&](const ParameterInfo& info) { return info.name == name; });
  if (it == infos_.end()) fail("the model has no parameter '" + name + "'");
  return *it;
}

std::span<float> Parameters::view(const ParameterInfo& info) {
  return {values_.span().data() + info.offset, static_cast<size_t>(info.count)};
}

std::span<const float> Parameters::view(const ParameterInfo& info) const {
  return {values_.span().data() + info.offset, static_cast<size_t>(info.count)};
}

void Parameters::set_trainable(const std::string& name, bool trainable) {
  const_cast<ParameterInfo&>(info(name)).trainable = trainable;
}

void parallel_in_order(int64_t n, const std::function<void(int64_t)>& body) {
  std::atomic<int64_t> next{0};
  parallel_for(num_threads(), 1, [&](int64_t, int64_t) {
    for (int64_t i = next++; i < n; i = next++) body(i);
  });
}

void read_all(const WeightSource& source, Parameters& parameters) {
  struct Piece {
    uint64_t place;
    size_t parameter;
    int64_t first, count;
  };
  const std::vector<ParameterInfo>& infos = parameters.infos();
  std::vector<Piece> pieces;
  for (size_t i = 0; i < infos.size(); ++i) {
    const int64_t row = infos[i].shape.size() > 1 ? infos[i].count / infos[i].shape[0] : 1;
    const int64_t step = std::max(row, kReadPiece / row * row);  // whole rows
    for (int64_t at = 0; at < infos[i].count; at += step) {
      pieces.push_back({source.place(i), i, at, std::min(step, infos[i].count - at)});
    }
  }
  for_each_by_place(pieces, [&](const Piece& piece) {
    source.read(piece.parameter, piece.first,
                parameters.view(infos[piece.parameter]).subspan(piece.first, piece.count));
  });
}

size_t first_not_finite(std::span<const float> values) {
  // Adding one to the exponent reaches the sign when all its bits are set. Runs of a fixed length,
  // without a branch inside, are what a compiler makes vectors of: nearly all values pass.
  constexpr size_t kRun = 64;
  const float* at = values.data();
  const auto bad = [](const float* from, size_t count) {
    uint32_t all = 0;
    for (size_t i = 0; i < count; ++i)
      all |= (std::bit_cast<uint32_t>(from[i]) & 0x7fffffff) + 0x00800000;
    return all >> 31 != 0;
  };
  size_t done = 0;
  while (done + kRun <= values.size() && !bad(at + done, kRun)) done += kRun;
  const auto found = std::find_if(values.begin() + static_cast<std::ptrdiff_t>(done), values.end(),
                                  [](float v) { return !std::isfinite(v); });
  return static_cast<size_t>(found - values.begin());
}

}  // namespace zeroth
