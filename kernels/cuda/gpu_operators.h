// The operators of a GPU: the back end that `--device cuda` chooses (kernels/back_ends.h).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kernels/cuda/attention.h"
#include "kernels/cuda/gpu_device.h"
#include "kernels/operators.h"

namespace zeroth::kernels::cuda {

// Every operator of kernels/operator_list.inc by the kernels of this folder, with the CPU's bits. A
// call stages what it needs of the host, queues kernels and returns; only what answers in memory of
// the host, or asks for what only the device knows, waits. Calls come from one thread at a time, as
// for all back ends; copies of the device may run beside them.
class GpuOperators final : public Operators {
 public:
  // tile_floats: logits that exist at a time. Throws Error where there is no such GPU.
  explicit GpuOperators(int index, int64_t tile_floats = int64_t{64} << 20)
      : device_(index), tile_floats_(tile_floats) {}
  std::string name() const override { return device_.name(); }
  const GpuDevice& device() const override { return device_; }
  bool replays() const override { return true; }
  void replay(const Stretch& stretch, const std::function<void()>& calls) const override;

#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) \
  result name parameters const override;
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR

 private:
  const GpuDevice device_;
  const int64_t tile_floats_;
};

// One call of an operator: the device is its own until it ends, and so is what it takes.
class Call {
 public:
  explicit Call(const GpuDevice& device) : device_(device), lock_(device.use()) {}
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  Stream stream() const { return device_.stream(); }

  // Memory of the device for n values, until the call ends.
  template <class T>
  T* space(int64_t n) {
    void* const memory = device_.take_space(static_cast<size_t>(n) * sizeof(T));
    spaces_.push_back(memory);
    return static_cast<T*>(memory);
  }
  // Values of the host, there.
  template <class T>
  T* stage(const T* values, int64_t n) {
    T* const to = space<T>(n);
    device_.copy_in(to, values, static_cast<size_t>(n) * sizeof(T));
    return to;
  }
  template <class T>
  T* stage(const std::vector<T>& values) {
    return stage(values.data(), static_cast<int64_t>(values.size()));
  }
  // Values of the device to the host, once the call has waited.
  template <class T>
  void bring(T* to, const T* from, int64_t n) {
    device_.bring(to, from, static_cast<size_t>(n) * sizeof(T));
  }
  void wait() { device_.wait(); }

  // Parts of m rows as kernels take them.
  RowBounds parts(RowParts parts, int64_t m);
  // Groups of rows, and how many rows they have in all: known since their choices were sorted, or
  // asked for.
  RowBounds groups(View<const int64_t> offsets);
  // Where chunks of their rows begin: with every part, or with every group where there are none. (A
  // chunk ends with its group too.)
  static RowBounds chunk_begins(const RowBounds& groups, View<const int64_t> parts) {
    if (parts.empty()) return groups;
    return {parts.data().address(), static_cast<int64_t>(parts.size()), 0};
  }
  // Addresses of arrays.
  template <class T>
  T** addresses(std::span<const At<T>> arrays) {
    std::vector<T*> all;
    for (const At<T>& array : arrays) all.push_back(array.address());
    return stage(all);
  }
  GroupedWeights grouped(PackedMatrices weights);
  // For a product of m rows; {} where it needs none.
  Workspace product_space(int64_t m, int64_t out, int64_t in);
  // place[choice]: where it stands in `order`.
  const int32_t* places(View<const int32_t> order);
  // Rows as attention takes them: what only the device knows is asked for once a batch.
  PagedRows rows(const DeviceRows& rows);
  // The operator is about to write there.
  template <class T>
  T* writes(At<T> at, int64_t n) {
    device_.known().forget(at.address(), static_cast<size_t>(n) * sizeof(T));
    return at.address();
  }
  // A number that all arrays of this content have (KnownArrays).
  KnownArrays& known() { return device_.known(); }

 private:
  const GpuDevice& device_;
  std::unique_lock<std::recursive_mutex> lock_;
  std::vector<void*> spaces_;
};

inline Weights weights_of(const PackedMatrix& w) {
  return {w.memory().address(), w.out(), w.in(), w.element()};
}
inline KvPages pages_of(const DevicePages& p) {
  return {p.k.address(), p.v.address(), p.kv_heads, p.k_dim, p.v_dim, p.values_in_keys};
}

}  // namespace zeroth::kernels::cuda
