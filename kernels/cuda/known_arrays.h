// What the host has learnt of arrays whose values only the device has.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace zeroth::kernels::cuda {

// Numbers that an array's values determine (how many rows groups have in all, the largest
// position), kept until somebody writes there, so that layers need not ask for them one after the
// other. Not thread safe.
class KnownArrays {
 public:
  using Numbers = std::pair<int64_t, int64_t>;
  // Of the array [at, at + bytes).
  void note(const void* at, size_t bytes, Numbers numbers) {
    forget(at, bytes);
    if (log_) log_->back().numbers = numbers;
    known_[address(at)] = {bytes, numbers};
  }
  std::optional<Numbers> find(const void* at, size_t bytes) const {
    const auto it = known_.find(address(at));
    if (it == known_.end() || it->second.bytes != bytes) return std::nullopt;
    return it->second.numbers;
  }
  // Everything that was noted of bytes in [at, at + bytes).
  void forget(const void* at, size_t bytes) {
    if (log_) log_->push_back({at, bytes, {}});
    if (known_.empty() || bytes == 0) return;
    const uintptr_t begin = address(at), end = begin + bytes;
    auto it = known_.upper_bound(begin);
    if (it != known_.begin()) --it;  // arrays do not overlap: the one that may reach into it
    while (it != known_.end() && it->first < end) {
      it = it->first + it->second.bytes > begin ? known_.erase(it) : std::next(it);
    }
  }

  // What was forgotten and noted, in order.
  struct Event {
    const void* at;
    size_t bytes;
    std::optional<Numbers> numbers;  // none: forgotten
  };
  using Log = std::vector<Event>;
  // From now on events go there too; null: no longer.
  void log(Log* to) { log_ = to; }
  void again(const Log& events) {
    for (const Event& e : events)
      e.numbers ? note(e.at, e.bytes, *e.numbers) : forget(e.at, e.bytes);
  }

 private:
  struct Known {
    size_t bytes;
    Numbers numbers;
  };
  static uintptr_t address(const void* at) { return reinterpret_cast<uintptr_t>(at); }
  std::map<uintptr_t, Known> known_;  // by where they begin
  Log* log_ = nullptr;
};

}  // namespace zeroth::kernels::cuda
