// A second back end, in plain loops over doubles: whole models run by it, slowly. It gives the
// numbers of the CPU's operators up to rounding, and keeps no numeric contract.
#pragma once

#include "kernels/reference/plain.h"

namespace zeroth::kernels {

class ReferenceOperators : public Operators {
 public:
  std::string name() const override { return "reference"; }

#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes)                    \
  result name parameters const override {                                               \
    const auto call = [](auto&&... a) -> result { return plain::name(on_host(a)...); }; \
    return call arguments;                                                              \
  }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR
};

}  // namespace zeroth::kernels
