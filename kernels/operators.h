// The seam between what is computed and who computes it: every operator of the forward and backward
// pass, chosen when a model is loaded.
#pragma once

#include <functional>
#include <string>

#include "kernels/device_array.h"
#include "kernels/head.h"
#include "kernels/ops.h"
#include "kernels/stretch.h"

namespace zeroth::kernels {

// A back end. All promise what kernels/ops.h says, and those that keep the numeric contract
// (docs/numerics.md) give the same bits. Immutable; they outlive every array and model that is made
// with them.
class Operators {
 public:
  virtual ~Operators() = default;
  virtual std::string name() const = 0;
  // Where the arrays of its calls live.
  virtual const Device& device() const { return host_device(); }
  // Whether several threads of the host may compute disjoint rows of one layer beside each other.
  virtual bool in_slices() const { return false; }

  // Whether replay() is worth a caller's while: it takes long to begin an operator.
  virtual bool replays() const { return false; }
  // Does `calls`, or what they did when they were last made with an equal stretch. They call
  // operators of this back end that answer in arrays only, and touch nothing of the host.
  virtual void replay(const Stretch& stretch, const std::function<void()>& calls) const {
    static_cast<void>(stretch);
    calls();
  }

#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) \
  virtual result name parameters const = 0;
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR
};

// The operators of kernels/*.h on all threads of the pool, with the instruction set in use
// (kernels/isa.h).
const Operators& cpu_operators();
// The same with this instruction set (supported_isas()), whichever is in use otherwise. For checks:
// a call changes what other threads use meanwhile.
std::unique_ptr<const Operators> cpu_operators(const std::string& isa);

}  // namespace zeroth::kernels
