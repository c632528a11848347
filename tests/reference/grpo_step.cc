// grpo_step FOLDER..: one GRPO step with given samples of every checkpoint in these folders, by the
// CPU's operators, by the reference's, and by the CPU's on a device whose memory the host cannot
// touch. Fails when a parameter of the reference's is further than 1e-5 from the CPU's, when one of
// the device's has other bits, or when nothing was learnt. That whole models agree says that a back
// end has to provide the operators, and a device its memory, and nothing else.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/reference/operators.h"
#include "tests/kernels/far_device.h"
#include "tests/reference/step_by.h"

namespace {

using namespace zeroth;

constexpr double kBound = 1e-5;

// The same step where the host cannot follow an address.
bool agree_far(const std::filesystem::path& model, const Step& cpu) {
  const kernels::FarOperators far(kernels::cpu_operators());
  const Step step = step_by(far, model);
  const bool same = step.values == cpu.values && step.grad_norm == cpu.grad_norm;
  if (!same) std::printf("  other bits on a device of its own\n");
  for (const std::string& op : far.strangers())
    std::printf("  %s was handed an array of the host\n", op.c_str());
  if (far.device().arrays() > 0) std::printf("  arrays were left on the device\n");
  return same && far.strangers().empty() && far.device().arrays() == 0;
}

bool agree(const std::filesystem::path& model) {
  const Step cpu = step_by(kernels::cpu_operators(), model);
  const Step reference = step_by(kernels::ReferenceOperators(), model);
  double worst = 0;
  size_t different = 0, at = 0;
  for (size_t i = 0; i < cpu.values.size(); ++i) {
    const double distance = std::abs(double{cpu.values[i]} - reference.values[i]);
    different += cpu.values[i] != reference.values[i];
    if (!(distance <= worst)) {
      worst = distance;
      at = i;
    }
  }
  std::string where;
  for (const ParameterInfo& info : cpu.infos) {
    if (static_cast<int64_t>(at) >= info.offset) where = info.name;
  }
  std::printf(
      "%s\n  gradient norm %.9g and %.9g, largest move %.3g, largest difference %.3g in %s, %zu of "
      "%zu parameters differ\n",
      model.c_str(), cpu.grad_norm, reference.grad_norm, cpu.moved, worst, where.c_str(), different,
      cpu.values.size());
  // Two back ends round differently somewhere; else one was compared with itself.
  return worst <= kBound && cpu.moved > 100 * kBound && different > 0 && agree_far(model, cpu);
}

}  // namespace

int main(int argc, char** argv) {
  int models = 0, bad = 0;
  for (int i = 1; i < argc; ++i) {
    for (const auto& entry : std::filesystem::directory_iterator(argv[i])) {
      if (!std::filesystem::exists(entry.path() / "config.json")) continue;
      ++models;
      try {
        bad += !agree(entry.path());
      } catch (const std::exception& error) {
        std::printf("%s\n  %s\n", entry.path().c_str(), error.what());
        ++bad;
      }
    }
  }
  std::printf("%d models, %d where the back ends differ\n", models, bad);
  return models > 0 && bad == 0 ? 0 : 1;
}
