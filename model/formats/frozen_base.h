// The values of a model that do not learn, kept in fewer bits, and read as exactly those: the frozen
// base under a low-rank adapter (as in QLoRA, arXiv 2305.14314, with other bits).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/memory.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf.h"
#include "model/parameters.h"

namespace zeroth {

// Of matrices; vectors, routers and convolutions keep float32, and with kQ8_0 so do matrices whose
// rows are no multiple of 32 values.
enum class BaseBits { kFloat32, kBfloat16, kQ8_0 };
const char* name_of(BaseBits bits);               // "float32", "bfloat16", "q8_0"
BaseBits base_bits_named(std::string_view name);  // throws Error(kUsage) for another name

// Thread safe while nothing is stored.
class FrozenBase : public WeightSource {
 public:
  // All values zero. `infos` are placed, as those of a Layout or of Parameters.
  FrozenBase(const std::vector<ParameterInfo>& infos, BaseBits bits);
  // The values of `source`, rounded once: to the nearest bfloat16 (ties to even), or as
  // ggml_quantize rounds to Q8_0. Values that are of these bits already stay what they are, with
  // Q8_0 whichever quant is a block's largest, so that a second rounding changes nothing. Reads
  // piece by piece: no copy in float32 is made.
  FrozenBase(const std::vector<ParameterInfo>& infos, BaseBits bits, const WeightSource& source);

  void fill(const WeightSource& source);

  BaseBits bits() const { return bits_; }
  void read(size_t i, int64_t first, std::span<float> out) const override;
  uint64_t place(size_t i) const override { return tensors_[i].at; }

  // Of parameter i as kept: values as ggml stores them (GgmlType F32, BF16 or Q8_0).
  GgmlType type(size_t i) const { return tensors_[i].type; }
  std::span<std::byte> bytes(size_t i);
  std::span<const std::byte> bytes(size_t i) const;
  int64_t total_bytes() const { return total_; }
  size_t size() const { return tensors_.size(); }

 private:
  struct Tensor {
    GgmlType type;
    int64_t count, row;  // values in all, and in one row
    uint64_t at;         // in memory_
  };
  void store(size_t i, int64_t first, std::span<const float> values);

  BaseBits bits_;
  std::vector<Tensor> tensors_;
  int64_t total_ = 0;
  ZeroedMemory memory_;
};

// The values of `infos` in a flat buffer, which must outlive it.
std::unique_ptr<WeightSource> flat_source(const std::vector<ParameterInfo>& infos,
                                          std::span<const float> flat);

// `model` with its values rounded to the bits whenever they are read: those of a FrozenBase.
OpenModel rounded(OpenModel model, BaseBits bits);

}  // namespace zeroth
