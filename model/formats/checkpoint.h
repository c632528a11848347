// Hugging Face checkpoint directories: config.json beside model.safetensors, or shards named by an
// index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/config.h"
#include "model/float_ranges.h"
#include "model/formats/save_options.h"
#include "model/parameters.h"

namespace zeroth {

// What a checkpoint holds besides the weights that were read.
struct CheckpointReport {
  std::vector<std::string> files;     // weight files, in name order
  std::map<std::string, int> dtypes;  // tensors of each stored type
  std::vector<std::string>
      skipped;  // tensors that the model has no use for, and is known to do without:
                // multi-token prediction layers, rotary tables, the head when it is tied
};

// Opens the files of `dir` and checks every name and shape against the config, before any memory is
// taken for weights. Names may also be those of the fused expert tensors that newer exports use
// (experts.gate_up_proj [E, 2I, H] and experts.down_proj [E, H, I]), or lack "model.". Throws Error
// that names the tensor.
class Checkpoint : public WeightSource {
 public:
  Checkpoint(const std::filesystem::path& dir, PolicyConfig config);
  ~Checkpoint() override;
  const CheckpointReport& report() const;
  // As given, but for what the weights decide: a head of its own beside a tied config. With notes.
  const PolicyConfig& config() const;
  void read(size_t i, int64_t first, std::span<float> out) const override;
  uint64_t place(size_t i) const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A Hugging Face directory or a .gguf file whose config, names and shapes were checked, but of
// whose weights nothing was read yet.
struct OpenModel {
  PolicyConfig config;
  std::unique_ptr<WeightSource> source;
};
// `path` may also be the folder of a PEFT adapter whose base is known, and `adapter` one for the
// model at `path` (model/formats/peft.h): values are then those of the merged model.
OpenModel open_model(const std::filesystem::path& path, const std::filesystem::path& adapter = {});

// A model's numbers without anything to run them.
struct ModelValues {
  PolicyConfig config;
  Parameters parameters;
};
// All of open_model(path); see Policy::load.
ModelValues load_values(const std::filesystem::path& path,
                        const std::filesystem::path& adapter = {});

// Writes config.json and the weights; see Policy::save.
void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const Parameters& parameters, const SaveOptions& options);
// The same of parameters that are read one by one, in the order of the files.
void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const std::vector<ParameterInfo>& infos, const ParameterReader& read,
                      const SaveOptions& options);

// Matrices normal(0, initializer_range), norms multiply by one, the rest is zero; tensor i draws from
// stream i of the seed. Parameters that are wholly `absent` stay as they are.
void initialize(const PolicyConfig& config, uint64_t seed, Parameters& parameters,
                const FloatRanges& absent = {});

}  // namespace zeroth
