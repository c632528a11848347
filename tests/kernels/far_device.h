// A device whose memory the host cannot touch, and the operators of another back end on it.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "kernels/host_calls.h"

namespace zeroth::kernels {

// Every array has two places: its addresses are pages without any access, so whoever follows one
// dies; the values lie elsewhere, full of NaN at first, with a page behind them that nobody may
// touch. Thread safe.
class FarDevice final : public Device {
 public:
  std::string name() const override { return "far"; }
  bool in_host_memory() const override { return false; }
  void* allocate(size_t bytes) const override {
    const size_t size = (bytes + kPage - 1) / kPage * kPage + kPage;
    Place place{map(size, PROT_READ | PROT_WRITE), size};
    char* const far = map(size, PROT_NONE);
    if (::mprotect(place.values + size - kPage, kPage, PROT_NONE) != 0) throw std::bad_alloc();
    std::memset(place.values, 0xff, size - kPage);
    std::lock_guard lock(mutex_);
    places_[far] = place;
    return far;
  }
  void release(void* memory) const override {
    std::lock_guard lock(mutex_);
    const auto it = places_.find(static_cast<char*>(memory));
    if (it == places_.end()) std::abort();  // not ours, or released before
    ::munmap(it->first, it->second.bytes);
    ::munmap(it->second.values, it->second.bytes);
    places_.erase(it);
  }
  void copy_in(void* to, const void* from, size_t bytes) const override {
    if (bytes > 0) std::memcpy(known(to), from, bytes);
  }
  void copy_out(void* to, const void* from, size_t bytes) const override {
    if (bytes > 0) std::memcpy(to, known(from), bytes);
  }
  void clear(void* at, size_t bytes) const override {
    if (bytes > 0) std::memset(known(at), 0, bytes);
  }

  // Where the value of an address lies; null when the address is none of this device.
  char* values_at(const void* address) const {
    std::lock_guard lock(mutex_);
    auto it = places_.upper_bound(static_cast<char*>(const_cast<void*>(address)));
    if (it == places_.begin()) return nullptr;
    --it;
    const auto offset = static_cast<size_t>(static_cast<const char*>(address) - it->first);
    return offset < it->second.bytes ? it->second.values + offset : nullptr;
  }
  // Arrays that live here now.
  size_t arrays() const {
    std::lock_guard lock(mutex_);
    return places_.size();
  }

 private:
  static constexpr size_t kPage = 4096;
  struct Place {
    char* values = nullptr;
    size_t bytes = 0;
  };
  static char* map(size_t bytes, int access) {
    void* at = ::mmap(nullptr, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw std::bad_alloc();
    return static_cast<char*>(at);
  }
  char* known(const void* address) const {
    char* at = values_at(address);
    if (!at) std::abort();
    return at;
  }

  mutable std::mutex mutex_;
  mutable std::map<char*, Place> places_;
};

// The operators of a back end of the host, for arrays of a far device. Notes which of them were
// handed an array of elsewhere.
class FarOperators final : public Operators {
 public:
  explicit FarOperators(const Operators& by) : by_(by) {}
  std::string name() const override { return "far " + by_.name(); }
  const FarDevice& device() const override { return device_; }
  std::set<std::string> strangers() const {
    std::lock_guard lock(mutex_);
    return strangers_;
  }

 private:
  // Arguments of several arrays, as long as a call lasts.
  struct Matrix {
    PackedMatrix matrix;
    operator PackedMatrix&() { return matrix; }
  };
  struct Matrices {
    std::vector<PackedMatrix> matrices;
    std::vector<const PackedMatrix*> pointers;
    Matrices(const FarOperators& ops, const char* op, PackedMatrices of) {
      for (const PackedMatrix* w : of) matrices.push_back(ops.near_matrix(op, *w));
      for (const PackedMatrix& w : matrices) pointers.push_back(&w);
    }
    operator PackedMatrices() const { return pointers; }
  };
  struct Table {
    EmbeddingTable table;
    PackedMatrix packed;
    Table(const FarOperators& ops, const char* op, const EmbeddingTable& of) {
      table.floats = ops.near_at(op, of.floats);
      table.halves = ops.near_at(op, of.halves);
      if (!of.packed) return;
      packed = ops.near_matrix(op, *of.packed);
      table.packed = &packed;
    }
    operator const EmbeddingTable&() const { return table; }
  };
  template <class T>
  struct List {
    std::vector<T> values;
    operator std::span<const T>() const { return values; }
  };

  template <class T>
  At<T> near_at(const char* op, At<T> at) const {
    if (!at) return at;
    if (char* values = device_.values_at(at.address())) return reinterpret_cast<T*>(values);
    std::lock_guard lock(mutex_);
    strangers_.insert(op);
    return at;
  }
  PackedMatrix near_matrix(const char* op, const PackedMatrix& w) const {
    PackedMatrix out;
    out.place(w.out(), w.in(), w.element(), near_at(op, w.memory()));
    return out;
  }
  // The argument with the places of its values.
  template <class T>
  decltype(auto) near_of(const char* op, T& argument) const {
    using Value = std::remove_const_t<T>;
    if constexpr (AtOf<Value>::value) {
      return near_at(op, argument);
    } else if constexpr (ViewOf<Value>::value) {
      return Value(argument.empty() ? argument.data() : near_at(op, argument.data()),
                   argument.size());
    } else if constexpr (std::is_same_v<Value, DevicePages>) {
      DevicePages out = argument;
      out.k = near_at(op, out.k);
      out.v = near_at(op, out.v);
      return out;
    } else if constexpr (std::is_same_v<Value, DeviceRows>) {
      return DeviceRows{near_of(op, argument.sequence), near_of(op, argument.position),
                        near_of(op, argument.page_table), near_of(op, argument.page_begin),
                        argument.window};
    } else if constexpr (std::is_same_v<Value, DeviceWeights>) {
      return DeviceWeights{near_at(op, argument.order), near_at(op, argument.weights),
                           near_at(op, argument.dweights)};
    } else if constexpr (std::is_same_v<Value, DeviceDeltaRuns>) {
      return DeviceDeltaRuns{near_of(op, argument.runs),       near_of(op, argument.sets),
                             near_of(op, argument.page_table), near_at(op, argument.slots),
                             near_at(op, argument.states),     argument.longest};
    } else if constexpr (std::is_same_v<Value, PackedMatrix>) {
      return Matrix{near_matrix(op, argument)};
    } else if constexpr (std::is_same_v<Value, PackedMatrices>) {
      return Matrices(*this, op, argument);
    } else if constexpr (std::is_same_v<Value, EmbeddingTable>) {
      return Table(*this, op, argument);
    } else if constexpr (std::is_same_v<Value, std::span<const SavedArray>>) {
      List<SavedArray> out{{argument.begin(), argument.end()}};
      for (SavedArray& array : out.values) array.data = near_at(op, array.data);
      return out;
    } else if constexpr (std::is_same_v<Value, std::span<const At<float>>> ||
                         std::is_same_v<Value, std::span<const At<char>>>) {
      List<typename Value::value_type> out;
      for (const auto& at : argument) out.values.push_back(near_at(op, at));
      return out;
    } else {
      return (argument);
    }
  }

 public:
#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes)                         \
  result name parameters const override {                                                    \
    const auto call = [&](auto&&... a) -> result { return by_.name(near_of(#name, a)...); }; \
    return call arguments;                                                                   \
  }
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR

 private:
  const Operators& by_;
  const FarDevice device_;
  mutable std::mutex mutex_;
  mutable std::set<std::string> strangers_;
};

}  // namespace zeroth::kernels
