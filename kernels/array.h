// How arrays of a device are named in calls of its operators (kernels/operators.h).
#pragma once

#include <span>

namespace zeroth::kernels {

// Where values lie in the memory of a device; {} is nowhere. Only operators follow it.
template <class T>
using At = T*;
// So many of them.
template <class T>
using View = std::span<T>;

}  // namespace zeroth::kernels
