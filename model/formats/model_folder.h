// Which files of a model folder are its weights, and what to say where there are none.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace zeroth {

// Files of a Hugging Face directory: all weights, or what names the shards.
inline constexpr const char* kWeightsFile = "model.safetensors";
inline constexpr const char* kWeightsIndex = "model.safetensors.index.json";

// Throws Error that says what to do when `path` is neither a GGUF file nor a folder with a
// config.json: a name on the Hugging Face hub, the root of its cache, an adapter, weights in another
// format, a Git LFS pointer.
void check_model_path(const std::filesystem::path& path);

struct WeightFiles {
  std::vector<std::string> files;                               // relative to the folder
  std::vector<std::pair<std::string, std::string>> weight_map;  // tensor and file, of an index
};
// model.safetensors, or else the shards that model.safetensors.index.json names; with both, the
// single file is read, as transformers does, and `notes` says so. Throws Error that names what the
// folder holds instead.
WeightFiles find_weight_files(const std::filesystem::path& dir, std::vector<std::string>& notes);

}  // namespace zeroth
