#include "policy/parameters.h"

#include <algorithm>

#include "core/error.h"

namespace zeroth {

namespace {

constexpr int64_t kAlign = 16;  // one cache line of floats

int64_t aligned(int64_t floats) { return (floats + kAlign - 1) / kAlign * kAlign; }

}  // namespace

int64_t place(ParameterInfo& info, int64_t end) {
  info.count = 1;
  for (const int64_t size : info.shape) info.count *= size;
  info.offset = info.glued ? end : aligned(end);
  return info.offset + info.count;
}

Parameters::Parameters(std::vector<ParameterInfo> infos) : infos_(std::move(infos)) {
  int64_t end = 0;
  for (ParameterInfo& info : infos_) end = place(info, end);
  const int64_t floats = aligned(end);
  try {
    values_.resize(floats);
  } catch (const std::exception&) {
    fail("not enough memory for a model of " + std::to_string(floats) + " parameters (" +
             std::to_string(floats >> 18) + " MiB in float32)",
         "use a smaller model or a machine with more memory");
  }
}

const ParameterInfo& Parameters::info(const std::string& name) const {
  const auto it = std::find_if(infos_.begin(), infos_.end(),
                               [&](const ParameterInfo& info) { return info.name == name; });
  if (it == infos_.end()) fail("the model has no parameter '" + name + "'");
  return *it;
}

std::span<float> Parameters::view(const ParameterInfo& info) {
  return {values_.data() + info.offset, static_cast<size_t>(info.count)};
}

std::span<const float> Parameters::view(const ParameterInfo& info) const {
  return {values_.data() + info.offset, static_cast<size_t>(info.count)};
}

void Parameters::set_trainable(const std::string& name, bool trainable) {
  const_cast<ParameterInfo&>(info(name)).trainable = trainable;
}

}  // namespace zeroth
