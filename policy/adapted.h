// Weights of a model with an adapter.
#pragma once

#include <filesystem>

#include "policy/weights.h"

namespace zeroth {

// load_weights (policy/weights.h) of the model at `path` with the PEFT adapter in the folder
// `adapter` merged (model/formats/peft.h); an empty one: none. Throws Error naming the tensor when
// they do not fit.
WeightsPtr load_adapted_weights(const std::filesystem::path& path,
                                const std::filesystem::path& adapter,
                                kernels::Element element = kernels::Element::kFloat32,
                                const kernels::Operators& operators = kernels::cpu_operators());

}  // namespace zeroth
