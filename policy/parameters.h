// All trainable numbers of a policy in one flat float32 buffer, with names and shapes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace zeroth {

struct ParameterInfo {
  std::string name;            // Hugging Face tensor name
  std::vector<int64_t> shape;  // row-major
  int64_t offset = 0;          // in floats, a multiple of 16 unless glued
  int64_t count = 0;
  bool trainable = true;  // false: buffers such as e_score_correction_bias
  bool decay = false;     // weight decay applies (matrices, not norms or biases)
  bool glued = false;     // starts where the one before ends: both are one fused matrix
};

// Puts one parameter behind others that end at `end`: sets its count and offset, returns the new
// end.
int64_t place(ParameterInfo& info, int64_t end);

class Parameters {
 public:
  // Sets counts and offsets; values start as zeros. Throws Error when there is not enough memory.
  explicit Parameters(std::vector<ParameterInfo> infos);
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const ParameterInfo& info(const std::string& name) const;  // throws Error when absent
  std::span<float> view(const ParameterInfo& info);
  std::span<const float> view(const ParameterInfo& info) const;
  // Optimizers leave the others alone (a frozen router, for example). Throws Error when absent.
  void set_trainable(const std::string& name, bool trainable);

 private:
  std::vector<ParameterInfo> infos_;
  std::vector<float> values_;
};

}  // namespace zeroth
