// The operators in plain loops over doubles; definitions in this folder.
#pragma once

#include "kernels/host_calls.h"

namespace zeroth::kernels::plain {

ZEROTH_HOST_WORDS
#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) result name parameters;
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR

}  // namespace zeroth::kernels::plain
