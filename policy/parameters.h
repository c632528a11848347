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
  int64_t offset = 0;          // in floats, a multiple of 16
  int64_t count = 0;
  bool trainable = true;       // false: buffers such as e_score_correction_bias
  bool decay = false;          // weight decay applies (matrices, not norms or biases)
};

class Parameters {
 public:
  explicit Parameters(std::vector<ParameterInfo> infos);  // sets the offsets
  std::span<float> values() { return values_; }
  std::span<const float> values() const { return values_; }
  const std::vector<ParameterInfo>& infos() const { return infos_; }
  const ParameterInfo& info(const std::string& name) const;  // throws Error when absent
  std::span<float> view(const ParameterInfo& info);
  std::span<const float> view(const ParameterInfo& info) const;

 private:
  std::vector<ParameterInfo> infos_;
  std::vector<float> values_;
};

}  // namespace zeroth
