#include "learn/gradient_tree.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/rng.h"
#include "tests/kernels/far_device.h"

using namespace zeroth;

namespace {

constexpr size_t kFloats = 40, kKept = 8, kSkipped = 16;
const FloatRanges kUsed = {{0, kKept}, {kSkipped, kFloats}};

using Values = std::vector<float>;

// Gradients of branches; some have none.
std::vector<std::optional<Values>> random_branches(int n, uint64_t seed) {
  Rng rng(seed, 0);
  std::vector<std::optional<Values>> out(n);
  for (auto& branch : out) {
    if (rng.chance(0.25)) continue;
    branch.emplace(kFloats);
    for (float& value : *branch) value = static_cast<float>(rng.normal() * rng.normal());
  }
  return out;
}

// The definition: node [a, b) = node [a, m) + node [m, b).
std::optional<Values> node(const std::vector<std::optional<Values>>& branches, int a, int b) {
  if (b - a == 1) return branches[a];
  const int middle = (a + b) / 2;
  auto left = node(branches, a, middle);
  const auto right = node(branches, middle, b);
  if (!left) return right;
  if (!right) return left;
  for (size_t i = 0; i < kFloats; ++i) (*left)[i] += (*right)[i];
  return left;
}

void check(const GradientTree& tree, std::span<const float> got, const Values& want) {
  (void)tree;
  for (size_t i = 0; i < kFloats; ++i) {
    if (i < kKept || i >= kSkipped) CHECK(got[i] == want[i]);
  }
}

}  // namespace

TEST_CASE("branches are added as a tree, whatever their number and which of them are empty") {
  for (const int n : {1, 2, 3, 4, 5, 8, 13}) {
    CAPTURE(n);
    GradientTree tree(kFloats, n, kUsed, {0, n});
    for (uint64_t seed = 0; seed < 20; ++seed) {
      const auto branches = random_branches(n, seed);
      tree.begin();
      for (int b = 0; b < n; ++b) {
        if (!branches[b]) continue;
        for (int half : {0, 1}) {  // asked for twice: it goes on
          const std::span<float> values = tree.branch(b).host();
          for (size_t i = half; i < kFloats; i += 2) {
            if (i >= kKept && i < kSkipped) continue;
            CHECK(values[i] == 0);
            values[i] += (*branches[b])[i];
          }
        }
      }
      const auto sum = node(branches, 0, n);
      check(tree, tree.total(), sum ? *sum : Values(kFloats));
    }
  }
}

TEST_CASE("branches on a device that the host cannot follow add up to the same bits") {
  const kernels::FarOperators far(kernels::cpu_operators());
  for (const int n : {1, 3, 8, 13}) {
    CAPTURE(n);
    const TreeNode own{n / 3, n};
    GradientTree there(kFloats, n, kUsed, own, far);
    GradientTree here(kFloats, n, kUsed, own);
    for (uint64_t seed = 0; seed < 10; ++seed) {
      const auto branches = random_branches(n, seed);
      there.begin();
      here.begin();
      for (int b = own.begin; b < n; ++b) {
        if (!branches[b]) continue;
        const std::span<float> to = here.branch(b).host();
        const kernels::At<float> far_to = there.branch(b).data();
        for (const auto& [first, end] : {std::pair(size_t{0}, kKept), {kSkipped, kFloats}}) {
          const float* const from = branches[b]->data() + first;
          std::copy_n(from, end - first, to.begin() + first);
          kernels::copy_in(far.device(), far_to + first, from, end - first);
        }
      }
      const auto want = here.parts(), got = there.parts();
      REQUIRE(got.size() == want.size());
      for (size_t i = 0; i < got.size(); ++i) {
        CHECK(got[i].node.begin == want[i].node.begin);
        CHECK(got[i].node.end == want[i].node.end);
        check(there, got[i].values, {want[i].values.begin(), want[i].values.end()});
      }
      if (own.begin == 0) {
        const std::span<const float> total = here.total();
        check(there, there.total(), {total.begin(), total.end()});
      }
    }
  }
  CHECK(far.strangers().empty());
}

TEST_CASE("what is complete is summed while the last branch still gets the rest") {
  const kernels::FarOperators far(kernels::cpu_operators());
  for (const bool there : {false, true}) {
    for (const TreeNode own : {TreeNode{0, 8}, {4, 8}, {3, 7}, {5, 6}, {1, 13}}) {
      GradientTree tree(kFloats, 13, kUsed, own, there ? far : kernels::cpu_operators());
      for (uint64_t seed = 0; seed < 10; ++seed) {
        const auto branches = random_branches(13, seed);
        std::vector<bool> filled;
        for (const auto& branch : branches) filled.push_back(branch.has_value());
        int last = -1;
        for (int b = own.begin; b < own.end; ++b) last = filled[b] ? b : last;
        const auto put = [&](int b, int64_t first, int64_t end) {
          const kernels::At<float> to = tree.branch(b).data();
          for (const auto& [begin, behind] : common({{first, end}}, kUsed))
            kernels::copy_in(there ? far.device() : kernels::cpu_operators().device(), to + begin,
                             branches[b]->data() + begin, behind - begin);
        };
        tree.begin();
        for (int b = own.begin; b < last; ++b) {
          if (filled[b]) put(b, 0, kFloats);
        }
        const std::vector<TreeNode> nodes = nodes_of(13, own, filled);
        CHECK(nodes.empty() == (last < 0));
        for (int64_t from = kFloats - 7; from > -7; from -= 7) {
          const int64_t complete = std::max<int64_t>(0, from);
          if (last >= 0) put(last, complete, from + 7);
          const auto parts = tree.parts(complete);
          REQUIRE(parts.size() == nodes.size());
          for (size_t n = 0; n < nodes.size(); ++n) {
            CHECK(parts[n].node.begin == nodes[n].begin);
            CHECK(parts[n].node.end == nodes[n].end);
            auto of = branches;  // those of the node alone
            for (int b = 0; b < 13; ++b) {
              if (b < nodes[n].begin || b >= nodes[n].end) of[b].reset();
            }
            const auto want = node(of, 0, 13);
            for (const auto& [begin, end] : common({{complete, kFloats}}, kUsed)) {
              for (int64_t i = begin; i < end; ++i) CHECK(parts[n].values[i] == (*want)[i]);
            }
          }
        }
      }
    }
  }
  CHECK(far.strangers().empty());
}
