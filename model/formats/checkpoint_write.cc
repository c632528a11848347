// Writing Hugging Face checkpoint directories, and random ones.
#include <cmath>
#include <filesystem>

#include "core/files.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "model/formats/checkpoint.h"
#include "model/formats/model_folder.h"
#include "model/formats/safetensors.h"
#include "model/formats/stacked_experts.h"
#include "model/image_codes.h"

namespace zeroth {
namespace {

std::string shard_name(size_t i, size_t n) {
  if (n == 1) return kWeightsFile;
  const auto padded = [](size_t value) {
    const std::string digits = std::to_string(value);
    return std::string(5 - std::min<size_t>(5, digits.size()), '0') + digits;
  };
  return "model-" + padded(i + 1) + "-of-" + padded(n) + ".safetensors";
}

std::vector<StoredTensor> stored_tensors(const PolicyConfig& config,
                                         const std::vector<ParameterInfo>& infos) {
  if (names_of(config.family).tensors.stacked_experts) return stacked_tensors(infos);
  std::vector<StoredTensor> out;
  const bool images = asks_for_image_codes(config.source);
  for (const ParameterInfo& info : infos) {
    const bool text = images && !info.name.starts_with("gen_");
    out.push_back({(text ? "language_model." : "") + info.name, info.shape, &info, {}, false});
  }
  return out;
}

// config.json as it was read, except for what the new files change.
Json saved_config(const PolicyConfig& config, bool bfloat16) {
  Json json = config.source;
  const bool old_style = json.contains("torch_dtype") && !json.contains("dtype");
  json[old_style ? "torch_dtype" : "dtype"] = bfloat16 ? "bfloat16" : "float32";
  json.erase("quantization_config");
  json.erase("auto_map");  // names Python files that are not copied
  if (asks_for_image_codes(json)) return json;
  const FamilyNames& names = names_of(config.family);
  json["model_type"] = names.model_type;  // the reader may have known it by its class
  json["architectures"] = {names.architecture};
  return json;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const Parameters& parameters, const SaveOptions& options) {
  const auto read = [&](const ParameterInfo& info, std::vector<float>&) {
    return parameters.view(info);
  };
  write_checkpoint(dir, config, parameters.infos(), read, options);
}

void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const std::vector<ParameterInfo>& infos, const ParameterReader& read,
                      const SaveOptions& options) {
  const auto narrow = [&](const ParameterInfo& info) { return options.bfloat16 && !info.exact(); };
  std::vector<std::vector<StoredTensor>> shards(1);
  uint64_t shard_bytes = 0, total_bytes = 0;
  for (StoredTensor& tensor : stored_tensors(config, infos)) {
    uint64_t bytes = narrow(*tensor.info) ? 2 : 4;
    for (const int64_t n : tensor.shape) bytes *= static_cast<uint64_t>(n);
    if (shard_bytes > 0 && shard_bytes + bytes > options.shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(std::move(tensor));
    shard_bytes += bytes;
    total_bytes += bytes;
  }
  nlohmann::json weight_map = nlohmann::json::object();  // sorted: an ordered one is quadratic
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name = shard_name(i, shards.size());
    std::vector<float> room;
    std::vector<TensorToWrite> tensors;
    for (const StoredTensor& tensor : shards[i]) {
      tensors.push_back({tensor.name, tensor.shape,
                         [&] { return stored_values(tensor, read, room); }, narrow(*tensor.info)});
      weight_map[tensor.name] = name;
    }
    write_safetensors(dir / name, tensors);
  }
  if (shards.size() > 1) {
    const nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}},
                                  {"weight_map", weight_map}};
    write_file_atomic(dir / kWeightsIndex, index.dump(2) + "\n");
    std::filesystem::remove(dir / kWeightsFile);  // an older one would be read instead
  } else {
    std::filesystem::remove(dir / kWeightsIndex);
  }
  write_file_atomic(dir / "config.json", saved_config(config, options.bfloat16).dump(2) + "\n");
}

void initialize(const PolicyConfig& config, uint64_t seed, Parameters& parameters,
                const FloatRanges& absent) {
  const std::vector<ParameterInfo>& infos = parameters.infos();
  parallel_for(static_cast<int64_t>(infos.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const FloatRange own{infos[i].offset, infos[i].offset + infos[i].count};
      if (!absent.empty() && common({own}, absent) == FloatRanges{own}) continue;
      Rng rng(seed, static_cast<uint32_t>(i));
      const bool matrix = infos[i].shape.size() > 1 && infos[i].role != Role::kBias;
      const Role role = infos[i].role;
      const bool one = (role == Role::kNorm && !config.norm_plus_one) || role == Role::kGatedNorm ||
                       role == Role::kTimeBias;
      for (float& value : parameters.view(infos[i])) {
        value = matrix ? static_cast<float>(config.initializer_range * rng.normal())
                : role == Role::kLogDecay
                    ? static_cast<float>(std::log(0.01 + 15.99 * rng.uniform()))
                    : one;
      }
    }
  });
}

}  // namespace zeroth
