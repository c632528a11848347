// Adapters as PEFT stores them: adapter_config.json beside adapter_model.safetensors.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "model/formats/frozen_base.h"
#include "model/lora.h"

namespace zeroth {

// A folder with an adapter and no model of its own.
bool is_adapter(const std::filesystem::path& path);

// The model that the adapter in `dir` belongs to, by its base_model_name_or_path: relative to the
// folder, or else to the working directory. Throws Error when there is no such path.
std::filesystem::path adapter_base(const std::filesystem::path& dir);

// LoRA for any linear layer, ranks and scales by layer as the shapes and lora_alpha say
// (use_rslora: alpha / sqrt(rank)). The experts of a layer may have a pair for every matrix, or,
// where PEFT adapts fused tensors by target_parameters, one A [experts * rank, in] (row e * rank +
// k) and one B [out, rank * experts] (column k * experts + e). Throws Error naming the option or
// the tensor for what is not LoRA as above, does not fit `model`, or is not finite.
std::unique_ptr<LoraAdapter> read_adapter(const std::filesystem::path& dir,
                                          const PolicyConfig& model);

// The bits of the base that the adapter in `dir` was learnt over (zeroth.json beside it); float32
// where nothing says so. Throws Error for a file that is damaged.
BaseBits adapter_bits(const std::filesystem::path& dir);

// Writes both files, in float32, into the folder, which must exist. What was read from fused
// tensors is written as such. `base` becomes base_model_name_or_path. Fewer bits than float32 are
// noted in zeroth.json, which PEFT does not look at.
void write_adapter(const std::filesystem::path& dir, const LoraAdapter& adapter,
                   const std::string& base, BaseBits bits = BaseBits::kFloat32);

// `model` with the adapter merged: values are the base's plus scale B A, as LoraAdapter::add_rows
// has them, whenever they are read.
OpenModel adapted(OpenModel model, std::unique_ptr<LoraAdapter> adapter);

}  // namespace zeroth
