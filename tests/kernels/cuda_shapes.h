// The shapes on which the device's operators are compared: how many each of them saw, and new ones,
// drawn. At least kLeastShapes for every operator.
#pragma once

#include <cstdio>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "kernel_test.h"
#if !defined(ZEROTH_ON_DEVICE)
#include "kernels/cuda/fibers/fibers.h"
#endif

namespace zeroth::kernels {

inline constexpr int64_t kLeastShapes = 200;

// A sanitizer takes its time, and what it is for shows in any shape: it gets every so many of them.
inline int64_t shape_stride() {
#if !defined(ZEROTH_ON_DEVICE)
  if (fibers::looker() == fibers::Looker::kAddressSanitizer) return 5;
  if (fibers::looker() == fibers::Looker::kThreadSanitizer) return 20;
#endif
  return 1;
}

// ThreadSanitizer sees what the CPU's threads copy and not how they are ordered, since only kernels
// are compiled for it: there the CPU has one thread.
inline void choose_threads() {
#if !defined(ZEROTH_ON_DEVICE)
  if (fibers::looker() == fibers::Looker::kThreadSanitizer) set_num_threads(1);
#endif
}

class Shapes {
 public:
  Shapes() { choose_threads(); }
  // Notes that these operators are compared on a shape; all numbers that tell it from others.
  // False: leave it out, because it was there before or the sanitizer does not get it: of what takes
  // `weight` times as long as most it gets so many fewer.
  bool add(std::initializer_list<const char*> operators, const std::vector<int64_t>& shape,
           int64_t weight = 1) {
    bool found = false;
    for (const char* name : operators) found |= seen_[name].insert(shape).second;
    const int64_t stride = shape_stride() == 1 ? 1 : shape_stride() * weight;
    return found && turns_[*operators.begin()]++ % stride == 0;
  }
  // Whether the operator needs more. Drawing ends in any case.
  bool wanting(const char* name) {
    if (drawn_[name]++ > 100 * kLeastShapes) return false;
    return count(name) < kLeastShapes;
  }
  int64_t count(const char* name) const {
    const auto it = seen_.find(name);
    return it == seen_.end() ? 0 : static_cast<int64_t>(it->second.size());
  }
  ~Shapes() {
    for (const auto& [name, all] : seen_) {
      if (shape_stride() == 1) std::printf("%-26s %5zu shapes\n", name.c_str(), all.size());
    }
    if (arrays > 0) std::printf("%lld arrays compared\n", static_cast<long long>(arrays));
  }
  int64_t arrays = 0;  // that were held against the CPU's

 private:
  std::map<std::string, std::set<std::vector<int64_t>>> seen_;
  std::map<std::string, int64_t> turns_, drawn_;
};
inline Shapes shapes;

// The operators that a source compares: one of these at namespace scope.
struct Compared {
  static std::vector<std::string>& all() {
    static std::vector<std::string> names;
    return names;
  }
  std::vector<const char*> names;
  Compared(std::initializer_list<const char*> operators) : names(operators) {
    all().insert(all().end(), names.begin(), names.end());
  }
  // Last in its source.
  void check() const {
    for (const char* name : names) {
      CAPTURE(name);
      CHECK(shapes.count(name) >= kLeastShapes);
    }
  }
};

// Numbers of a shape; the same in every run.
class Draw {
 public:
  explicit Draw(uint32_t stream) : rng_(40, stream) {}
  int64_t of(std::initializer_list<int64_t> some) {
    return some.begin()[rng_.below(static_cast<uint32_t>(some.size()))];
  }
  int64_t between(int64_t least, int64_t most) {
    return least + rng_.below(static_cast<uint32_t>(most - least + 1));
  }
  bool coin() { return rng_.below(2) == 1; }
  // Begins of parts or groups of m rows, from 0 on; empty ones among them.
  std::vector<int64_t> cuts(int64_t m, int64_t count) {
    std::vector<int64_t> at{0};
    for (int64_t i = 1; i < count; ++i) at.push_back(between(at.back(), m));
    return at;
  }

 private:
  Rng rng_;
};

}  // namespace zeroth::kernels
