// Calls of a back end whose device is the host: its functions take pointers and spans.
#pragma once

#include <type_traits>
#include <vector>

#include "kernels/operators.h"

namespace zeroth::kernels {

// What kernels/operator_list.inc says, in the words of the host: for a namespace of functions with
// these parameters.
#define ZEROTH_HOST_WORDS           \
  template <class T>                \
  using At = T*;                    \
  template <class T>                \
  using View = std::span<T>;        \
  using DevicePages = KvPages;      \
  using DeviceRows = AttentionRows; \
  using DeviceWeights = RowWeights; \
  using DeviceDeltaRuns = DeltaRuns;

template <class T>
struct AtOf : std::false_type {};
template <class T>
struct AtOf<At<T>> : std::true_type {};
template <class T>
struct ViewOf : std::false_type {};
template <class T>
struct ViewOf<View<T>> : std::true_type {};

// Addresses of several arrays, as long as the call lasts.
template <class T>
struct Addresses {
  std::vector<T*> pointers;
  explicit Addresses(std::span<const At<T>> arrays) {
    for (const At<T>& array : arrays) pointers.push_back(array.address());
  }
  operator std::span<T* const>() const { return pointers; }
};

// An argument of an operator as the host takes it.
template <class T>
decltype(auto) on_host(T& argument) {
  using Value = std::remove_const_t<T>;
  if constexpr (AtOf<Value>::value) {
    return argument.address();
  } else if constexpr (ViewOf<Value>::value) {
    return argument.host();
  } else if constexpr (std::is_same_v<Value, DevicePages>) {
    return KvPages{argument.k.address(), argument.v.address(), argument.kv_heads,
                   argument.k_dim,       argument.v_dim,       argument.values_in_keys};
  } else if constexpr (std::is_same_v<Value, DeviceRows>) {
    return AttentionRows{argument.sequence.host(), argument.position.host(),
                         argument.page_table.host(), argument.page_begin.host(), argument.window};
  } else if constexpr (std::is_same_v<Value, DeviceWeights>) {
    return RowWeights{argument.order.address(), argument.weights.address(),
                      argument.dweights.address()};
  } else if constexpr (std::is_same_v<Value, DeviceDeltaRuns>) {
    return DeltaRuns{argument.runs.host(),       argument.sets.host(),
                     argument.page_table.host(), argument.slots.address(),
                     argument.states.address(),  argument.longest};
  } else if constexpr (std::is_same_v<Value, std::span<const At<float>>> ||
                       std::is_same_v<Value, std::span<const At<char>>>) {
    return Addresses(argument);
  } else {
    return (argument);
  }
}

}  // namespace zeroth::kernels
