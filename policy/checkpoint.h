// Hugging Face checkpoint directories: config.json beside model.safetensors, or shards named by an
// index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "policy/config.h"
#include "policy/parameters.h"
#include "policy/policy.h"

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
// (experts.gate_up_proj [E, 2I, H] and experts.down_proj [E, H, I]). Throws Error that names the
// tensor.
class Checkpoint {
 public:
  Checkpoint(const std::filesystem::path& dir, const PolicyConfig& config);
  ~Checkpoint();
  const CheckpointReport& report() const;
  // Widens all tensors into `parameters` (made from the same config's layout). A value that is not
  // finite is an Error.
  void read(Parameters& parameters) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A model's numbers without anything to run them.
struct Weights {
  PolicyConfig config;
  Parameters parameters;
};
// Reads a Hugging Face directory or a .gguf file; see Policy::load.
Weights load_weights(const std::filesystem::path& path);

// Writes config.json and the weights; see Policy::save.
void write_checkpoint(const std::filesystem::path& dir, const PolicyConfig& config,
                      const Parameters& parameters, const SaveOptions& options);

// Matrices normal(0, initializer_range), norms one, the rest zero; tensor i draws from stream i of
// the seed.
void initialize(const PolicyConfig& config, uint64_t seed, Parameters& parameters);

}  // namespace zeroth
