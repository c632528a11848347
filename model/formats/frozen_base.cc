#include "model/formats/frozen_base.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "model/layout.h"

namespace zeroth {
namespace {

constexpr std::array<std::pair<BaseBits, const char*>, 3> kNames = {
    {{BaseBits::kFloat32, "float32"},
     {BaseBits::kBfloat16, "bfloat16"},
     {BaseBits::kQ8_0, "q8_0"}}};
constexpr int64_t kBlock = 32;       // values of Q8_0
constexpr int64_t kBlockBytes = 34;  // a half-precision scale before 32 signed bytes

GgmlType type_of(const ParameterInfo& info, BaseBits bits) {
  const bool matrix = info.shape.size() == 2 && info.shape[0] > 1 && info.role != Role::kRouter &&
                      info.role != Role::kBias && !info.exact();
  if (!matrix || bits == BaseBits::kFloat32) return GgmlType::kF32;
  if (bits == BaseBits::kBfloat16) return GgmlType::kBf16;
  return info.shape[1] % kBlock == 0 ? GgmlType::kQ8_0 : GgmlType::kF32;
}

int64_t bytes_of(GgmlType type, int64_t values) {
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(type), "a frozen base");
  return values / block.values * block.bytes;
}

// Whether all 32 values are whole multiples, of at most 128, of the half-precision scale; they then
// go to `out`.
bool take_multiples(const float* in, float scale, std::byte* out) {
  std::array<std::byte, kBlockBytes> block;
  for (int64_t j = 0; j < kBlock; ++j) {
    const float q = in[j] / scale;
    if (q != std::nearbyint(q) || q < -128 || q > 127 || q * scale != in[j]) return false;
    block[2 + j] = static_cast<std::byte>(static_cast<int8_t>(q));
  }
  ggml_quantize(GgmlType::kF16, &scale, 1, block.data());
  float kept = 0;
  ggml_dequantize(GgmlType::kF16, block.data(), 1, &kept);
  if (kept != scale) return false;
  std::memcpy(out, block.data(), block.size());
  return true;
}

// A writer may have left the largest quant of a block below 127, or have taken -128: its scale is
// another one than that of ggml_quantize, and the values are of these bits all the same.
void quantize_block(const float* in, std::byte* out) {
  float largest = 0;
  for (int64_t j = 0; j < kBlock; ++j) largest = std::max(largest, std::abs(in[j]));
  ggml_quantize(GgmlType::kQ8_0, in, kBlock, out);
  if (largest == 0) return;
  constexpr uint32_t kBehindHalf = 0x1fff;  // bits of a float that no half has
  for (int k = 128; k > 0; --k) {
    const float scale = largest / static_cast<float>(k);
    if ((std::bit_cast<uint32_t>(scale) & kBehindHalf) != 0) continue;
    if (take_multiples(in, scale, out)) return;
  }
}

void encode(GgmlType type, std::span<const float> values, std::byte* out) {
  const auto count = static_cast<int64_t>(values.size());
  if (type != GgmlType::kQ8_0) return ggml_quantize(type, values.data(), count, out);
  for (int64_t at = 0; at < count; at += kBlock, out += kBlockBytes)
    quantize_block(values.data() + at, out);
}

class FlatSource : public WeightSource {
 public:
  FlatSource(std::vector<int64_t> offsets, std::span<const float> flat)
      : offsets_(std::move(offsets)), flat_(flat) {}
  void read(size_t i, int64_t first, std::span<float> out) const override {
    std::copy_n(flat_.begin() + offsets_[i] + first, out.size(), out.begin());
  }
  uint64_t place(size_t i) const override { return static_cast<uint64_t>(offsets_[i]); }

 private:
  std::vector<int64_t> offsets_;
  std::span<const float> flat_;
};

class RoundedSource : public WeightSource {
 public:
  RoundedSource(OpenModel& model, BaseBits bits) : source_(std::move(model.source)) {
    for (const ParameterInfo& info : make_layout(model.config).infos)
      types_.push_back(type_of(info, bits));
  }
  void read(size_t i, int64_t first, std::span<float> out) const override {
    source_->read(i, first, out);  // whole rows, and so whole blocks
    if (types_[i] == GgmlType::kF32) return;
    const auto count = static_cast<int64_t>(out.size());
    std::vector<std::byte> kept(static_cast<size_t>(bytes_of(types_[i], count)));
    encode(types_[i], out, kept.data());
    ggml_dequantize(types_[i], kept.data(), count, out.data());
  }
  uint64_t place(size_t i) const override { return source_->place(i); }

 private:
  std::unique_ptr<WeightSource> source_;
  std::vector<GgmlType> types_;
};

}  // namespace

const char* name_of(BaseBits bits) { return kNames[static_cast<size_t>(bits)].second; }

BaseBits base_bits_named(std::string_view name) {
  for (const auto& [bits, known] : kNames) {
    if (name == known) return bits;
  }
  fail_usage("a base cannot be kept as \"" + std::string(name.substr(0, 100)) + "\"",
             "use float32, bfloat16 or q8_0");
}

FrozenBase::FrozenBase(const std::vector<ParameterInfo>& infos, BaseBits bits)
    : bits_(bits), memory_(0) {
  for (const ParameterInfo& info : infos) {
    const GgmlType type = type_of(info, bits);
    const int64_t row = info.shape.size() > 1 ? info.count / info.shape[0] : 1;
    tensors_.push_back({type, info.count, row, static_cast<uint64_t>(total_)});
    total_ += (bytes_of(type, info.count) + 63) / 64 * 64;  // each from a cache line on
  }
  try {
    memory_ = ZeroedMemory(static_cast<size_t>(total_));
  } catch (const std::exception&) {
    fail("not enough memory for a base of " + std::to_string(total_ >> 20) + " MiB in " +
             name_of(bits),
         "use a smaller model or a machine with more memory");
  }
}

FrozenBase::FrozenBase(const std::vector<ParameterInfo>& infos, BaseBits bits,
                       const WeightSource& source)
    : FrozenBase(infos, bits) {
  fill(source);
}

void FrozenBase::fill(const WeightSource& source) {
  struct Piece {
    uint64_t place;
    size_t parameter;
    int64_t first, count;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const int64_t step = std::max(tensors_[i].row, kReadPiece / tensors_[i].row * tensors_[i].row);
    for (int64_t at = 0; at < tensors_[i].count; at += step)
      pieces.push_back({source.place(i), i, at, std::min(step, tensors_[i].count - at)});
  }
  for_each_by_place(pieces, [&](const Piece& piece) {
    std::vector<float> values(static_cast<size_t>(piece.count));
    source.read(piece.parameter, piece.first, values);
    store(piece.parameter, piece.first, values);
  });
}

void FrozenBase::store(size_t i, int64_t first, std::span<const float> values) {
  encode(tensors_[i].type, values, bytes(i).data() + bytes_of(tensors_[i].type, first));
}

std::span<std::byte> FrozenBase::bytes(size_t i) {
  return {static_cast<std::byte*>(memory_.data()) + tensors_[i].at,
          static_cast<size_t>(bytes_of(tensors_[i].type, tensors_[i].count))};
}

std::span<const std::byte> FrozenBase::bytes(size_t i) const {
  return const_cast<FrozenBase*>(this)->bytes(i);
}

void FrozenBase::read(size_t i, int64_t first, std::span<float> out) const {
  const GgmlType type = tensors_[i].type;
  const std::byte* kept = bytes(i).data();
  const auto count = static_cast<int64_t>(out.size());
  if (type != GgmlType::kQ8_0)
    return ggml_dequantize(type, kept + bytes_of(type, first), count, out.data());
  std::array<float, kBlock> block;
  for (int64_t done = 0; done < count;) {
    const int64_t at = first + done, inside = at % kBlock;
    const std::byte* from = kept + at / kBlock * kBlockBytes;
    if (inside == 0 && count - done >= kBlock) {
      const int64_t whole = (count - done) / kBlock * kBlock;
      ggml_dequantize(type, from, whole, out.data() + done);
      done += whole;
      continue;
    }
    ggml_dequantize(type, from, kBlock, block.data());
    const int64_t n = std::min(kBlock - inside, count - done);
    std::copy_n(block.begin() + inside, n, out.begin() + done);
    done += n;
  }
}

std::unique_ptr<WeightSource> flat_source(const std::vector<ParameterInfo>& infos,
                                          std::span<const float> flat) {
  std::vector<int64_t> offsets;
  for (const ParameterInfo& info : infos) {
    offsets.push_back(info.offset);
    if (info.offset + info.count > static_cast<int64_t>(flat.size()))
      fail(std::to_string(flat.size()) + " values do not hold " + info.name);
  }
  return std::make_unique<FlatSource>(std::move(offsets), flat);
}

OpenModel rounded(OpenModel model, BaseBits bits) {
  if (bits == BaseBits::kFloat32) return model;
  model.source = std::make_unique<RoundedSource>(model, bits);
  return model;
}

}  // namespace zeroth
