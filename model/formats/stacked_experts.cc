#include "model/formats/stacked_experts.h"

#include <algorithm>
#include <cmath>

namespace zeroth {
namespace {

constexpr const char* kExperts = ".experts.";
constexpr const char* kGateUpBias = ".experts.gate_up_proj_bias";

}  // namespace

bool stacked_name(const std::string& name, StackedExpert& out) {
  const size_t at = name.find(kExperts);
  if (at == std::string::npos) return false;
  const size_t number = at + std::char_traits<char>::length(kExperts);
  const size_t dot = name.find('.', number);
  if (dot == std::string::npos || dot == number || dot - number > 6) return false;
  const std::string part = name.substr(dot + 1);
  const bool down = part == "down_proj.weight", up = part == "up_proj.weight";
  if (!down && !up && part != "gate_proj.weight") return false;
  out.expert = std::stoll(name.substr(number, dot - number));
  out.name = name.substr(0, number) + (down ? "down_proj" : "gate_up_proj");
  out.part = up ? 1 : 0;
  out.parts = down ? 1 : 2;
  return true;
}

void read_stacked(const SafetensorsFile& file, const TensorEntry& tensor, const StackedExpert& of,
                  const ParameterInfo& info, int64_t first, std::span<float> out) {
  const int64_t rows_of_all = info.shape[0], in = info.shape[1];
  const int64_t row = first / in, rows = static_cast<int64_t>(out.size()) / in;
  std::vector<float> run(static_cast<size_t>(of.parts * rows));
  for (int64_t k = 0; k < in; ++k) {
    file.read(tensor, ((of.expert * in + k) * rows_of_all + row) * of.parts, run);
    for (int64_t r = 0; r < rows; ++r) out[r * in + k] = run[r * of.parts + of.part];
  }
}

void read_mxfp4(const Mxfp4Tensor& blocks, const Mxfp4Tensor& scales, const StackedExpert& of,
                const ParameterInfo& info, int64_t first, std::span<float> out) {
  constexpr float kValues[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                 -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
  constexpr int64_t kBytes = kMxfp4Block / 2;
  const int64_t rows_of_all = info.shape[0], in = info.shape[1], across = in / kMxfp4Block;
  const int64_t rows = static_cast<int64_t>(out.size()) / in;
  std::vector<std::byte> halves(static_cast<size_t>(across * kBytes));
  std::vector<std::byte> exponents(static_cast<size_t>(across));
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t stored = (of.expert * rows_of_all + first / in + r) * of.parts + of.part;
    blocks.file->read_bytes(*blocks.entry, stored * across * kBytes, halves);
    scales.file->read_bytes(*scales.entry, stored * across, exponents);
    for (int64_t i = 0; i < across * kBytes; ++i) {
      const float scale = std::ldexp(1.0f, std::to_integer<int>(exponents[i / kBytes]) - 127);
      const auto byte = std::to_integer<unsigned>(halves[i]);
      out[r * in + 2 * i] = kValues[byte & 15] * scale;
      out[r * in + 2 * i + 1] = kValues[byte >> 4] * scale;
    }
  }
}

void read_interleaved(const SafetensorsFile& file, const TensorEntry& tensor,
                      const ParameterInfo& info, int64_t first, std::span<float> out) {
  const int64_t both = info.shape[1], width = both / 2;
  std::vector<float> row(static_cast<size_t>(both));
  int64_t expert = -1;
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t at = first + static_cast<int64_t>(i), j = at % both;
    if (at / both != expert) {
      expert = at / both;
      file.read(tensor, expert * both, row);
    }
    out[i] = row[j < width ? 2 * j : 2 * (j - width) + 1];
  }
}

std::vector<StoredTensor> stacked_tensors(const std::vector<ParameterInfo>& infos) {
  std::vector<StoredTensor> out;
  for (const ParameterInfo& info : infos) {
    StackedExpert expert;
    if (!stacked_name(info.name, expert)) {
      const bool bias = info.name.ends_with(kGateUpBias);
      out.push_back({info.name, info.shape, &info, {}, bias});
      continue;
    }
    const auto same = [&](const StoredTensor& t) { return t.name == expert.name; };
    auto tensor = std::find_if(out.rbegin(), out.rend(), same);
    if (tensor == out.rend()) {
      out.push_back(
          {expert.name, {0, info.shape[1], expert.parts * info.shape[0]}, &info, {}, false});
      tensor = out.rbegin();
    }
    tensor->experts.push_back(&info);
    tensor->shape[0] = expert.expert + 1;
  }
  return out;
}

std::span<const float> stored_values(const StoredTensor& tensor, const ParameterReader& read,
                                     std::vector<float>& room) {
  if (tensor.experts.empty() && !tensor.interleaved) return read(*tensor.info, room);
  std::vector<float> one;
  const auto experts = static_cast<size_t>(tensor.shape[0]);
  size_t count = 1;
  for (const int64_t n : tensor.shape) count *= static_cast<size_t>(n);
  room.resize(count);
  if (tensor.interleaved) {
    const std::span<const float> values = read(*tensor.info, one);
    const size_t both = count / experts, width = both / 2;
    for (size_t i = 0; i < count; ++i) {
      const size_t j = i % both;
      room[i - j + (j < width ? 2 * j : 2 * (j - width) + 1)] = values[i];
    }
    return room;
  }
  const size_t parts = tensor.experts.size() / experts;
  const auto in = static_cast<size_t>(tensor.shape[1]), wide = static_cast<size_t>(tensor.shape[2]);
  for (size_t m = 0; m < tensor.experts.size(); ++m) {
    const std::span<const float> values = read(*tensor.experts[m], one);
    float* const to = room.data() + m / parts * in * wide + m % parts;
    for (size_t r = 0; r < wide / parts; ++r)
      for (size_t k = 0; k < in; ++k) to[k * wide + r * parts] = values[r * in + k];
  }
  return room;
}

}  // namespace zeroth
