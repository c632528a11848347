// Experts as gpt-oss's checkpoints have them: those of a layer in one tensor [experts, in, out], the
// rows of gate and up next to each other, plain or in blocks of MXFP4.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"
#include "model/parameters.h"

namespace zeroth {

// One expert's matrix [out, in] inside such a tensor: row r is column parts * r + part of the
// expert's [in, parts * out].
struct StackedExpert {
  std::string name;  // of the tensor: "..mlp.experts.gate_up_proj"
  int64_t expert = 0, part = 0, parts = 1;
};
// For "..mlp.experts.3.up_proj.weight"; false: no name of an expert's matrix.
bool stacked_name(const std::string& name, StackedExpert& out);

// Values [first, first + out.size()) of the matrix `info`, whole rows. Plain: `tensor` is [experts,
// in, parts * out].
void read_stacked(const SafetensorsFile& file, const TensorEntry& tensor, const StackedExpert& of,
                  const ParameterInfo& info, int64_t first, std::span<float> out);
// MXFP4 (OCP Microscaling Formats, 2023): blocks [experts, parts * out, in / 32, 16] of two 4-bit
// floats (E2M1) a byte, the lower half first, scales [experts, parts * out, in / 32] of E8M0.
inline constexpr int64_t kMxfp4Block = 32;
struct Mxfp4Tensor {
  const SafetensorsFile* file = nullptr;
  const TensorEntry* entry = nullptr;
};
void read_mxfp4(const Mxfp4Tensor& blocks, const Mxfp4Tensor& scales, const StackedExpert& of,
                const ParameterInfo& info, int64_t first, std::span<float> out);
// Biases [experts, 2 * width] of gate and up: here gates first, in a file next to each other. Any
// run of values.
void read_interleaved(const SafetensorsFile& file, const TensorEntry& tensor,
                      const ParameterInfo& info, int64_t first, std::span<float> out);

// What is written for a parameter, or for several: values are made when asked for.
struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;
  const ParameterInfo* info;                  // the first one
  std::vector<const ParameterInfo*> experts;  // of a stacked tensor: every expert's, gate before up
  bool interleaved = false;                   // a bias as above
};
// For the parameters of a family with such experts, in order.
std::vector<StoredTensor> stacked_tensors(const std::vector<ParameterInfo>& infos);
// `room` keeps what has to be put together.
std::span<const float> stored_values(const StoredTensor& tensor, const ParameterReader& read,
                                     std::vector<float>& room);

}  // namespace zeroth
