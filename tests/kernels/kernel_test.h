// What the tests of the operators share: random numbers, comparison of bits and with a reference,
// and the harness that runs one operator under every instruction set and number of threads.
#pragma once

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/ops.h"
#include "kernels/reference/reference.h"

namespace zeroth::kernels {

using Values = std::vector<float>;

inline Values random_values(int64_t n, uint32_t stream, double size = 1) {
  Values x(n);
  Rng rng(20, stream);
  for (float& v : x) v = static_cast<float>(rng.normal() * size);
  return x;
}
inline reference::Doubles doubles(std::span<const float> x) { return {x.begin(), x.end()}; }

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size_bytes()) == 0);
}

// Largest |a - b| / (largest |b| + tiny).
inline double difference(std::span<const float> a, std::span<const double> b) {
  REQUIRE(a.size() == b.size());
  double most = 0, size = 1e-30;
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i]) < INFINITY)) return INFINITY;
    most = std::max(most, std::abs(a[i] - b[i]));
    size = std::max(size, std::abs(b[i]));
  }
  return most / size;
}

// Restores instruction set and threads when a test ends.
struct Restore {
  std::string isa = kernels::isa();
  int threads = num_threads();
  ~Restore() {
    set_isa(isa);
    set_num_threads(threads);
  }
};

// Runs `body` with each instruction set of this machine, and the fastest one also with 1, 2 and 4
// threads; all results must have the bits of the first. Returns them.
inline Values everywhere(const std::function<Values()>& body) {
  const Restore restore;
  const Values expected = body();
  for (const std::string& name : supported_isas()) {
    set_isa(name);
    INFO("instruction set ", name);
    CHECK(same_bits(body(), expected));
  }
  set_isa(restore.isa);
  for (int threads : {1, 2, 4}) {
    set_num_threads(threads);
    INFO("threads ", threads);
    CHECK(same_bits(body(), expected));
  }
  return expected;
}

// A shuffled list 0 .. n - 1.
inline std::vector<int32_t> shuffled(int n, uint32_t stream) {
  std::vector<int32_t> order(n);
  for (int i = 0; i < n; ++i) order[i] = i;
  Rng rng(21, stream);
  for (int i = n - 1; i > 0; --i) std::swap(order[i], order[rng.below(i + 1)]);
  return order;
}

// The harness of row purity: `op(rows)` gives `width` floats per row of the list of row numbers it
// is handed. For every number of rows 1 .. 65, at shuffled positions, a row must give the bits it
// gives alone. Returns false when it does not.
inline bool rows_are_pure(int rows, int64_t width,
                          const std::function<Values(std::span<const int32_t>)>& op) {
  std::vector<Values> alone(rows);
  for (int32_t i = 0; i < rows; ++i) alone[i] = op(std::span(&i, 1));
  for (int m = 1; m <= rows; ++m) {
    const std::vector<int32_t> order = shuffled(rows, m);
    const Values y = op(std::span(order).first(m));
    for (int i = 0; i < m; ++i)
      if (!same_bits(std::span(y).subspan(i * width, width), alone[order[i]])) return false;
  }
  return true;
}

// Rows of x [., width] by number.
inline Values pick_rows(const Values& x, int64_t width, std::span<const int32_t> rows) {
  Values out;
  for (int32_t r : rows) out.insert(out.end(), x.begin() + r * width, x.begin() + (r + 1) * width);
  return out;
}

}  // namespace zeroth::kernels
