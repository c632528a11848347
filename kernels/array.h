// How arrays of a device are named in calls of its operators (kernels/operators.h). What owns them:
// kernels/device_array.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace zeroth::kernels {

// Where values lie in the memory of a device; {} is nowhere. Has no element access: only operators
// and copies follow it.
template <class T>
class At {
 public:
  using Value = T;
  At() = default;
  At(std::nullptr_t) {}
  At(T* address) : address_(address) {}
  template <class U>
  requires(!std::is_same_v<U, T> && std::is_convertible_v<U*, T*>) At(At<U> other)
      : address_(other.address()) {}
  explicit operator bool() const { return address_ != nullptr; }
  At operator+(int64_t n) const { return address_ + n; }
  At& operator+=(int64_t n) { return *this = *this + n; }
  bool operator==(const At&) const = default;
  // For back ends, and where the device's memory is known to be the host's.
  T* address() const { return address_; }
  // The same bytes as values of another type.
  template <class U>
  At<U> as() const {
    return reinterpret_cast<U*>(address_);
  }

 private:
  T* address_ = nullptr;
};

// So many values from there.
template <class T>
class View {
 public:
  View() = default;
  View(At<T> data, size_t size) : data_(data), size_(size) {}
  template <class Range>
  requires(!std::is_same_v<std::remove_cvref_t<Range>, View> &&
           std::is_convertible_v<Range&&, std::span<T>>) View(Range&& range)
      : View(std::span<T>(range)) {}
  View(std::span<T> values) : data_(values.data()), size_(values.size()) {}
  At<T> data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  View subspan(size_t first, size_t n) const { return {data_ + static_cast<int64_t>(first), n}; }
  // As At::address().
  std::span<T> host() const { return {data_.address(), size_}; }

 private:
  At<T> data_;
  size_t size_ = 0;
};

// How structures name arrays: the host's, as the CPU's functions take them, or a device's.
struct InHost {
  template <class T>
  using At = T*;
  template <class T>
  using View = std::span<T>;
};
struct OnDevice {
  template <class T>
  using At = kernels::At<T>;
  template <class T>
  using View = kernels::View<T>;
};

}  // namespace zeroth::kernels
