// The gradient of an update, summed in one order whatever the calls.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/operators.h"
#include "model/buffer.h"
#include "model/float_ranges.h"

namespace zeroth {

// Branches [begin, end).
struct TreeNode {
  int begin = 0, end = 0;
};
// The smallest node of the tree over so many branches that holds both, first < last.
TreeNode smallest_node(int branches, int first, int last);
// What branches `own` add up to, of which those with a gradient are `filled` [branches]: the largest
// nodes that hold no others, from left to right.
std::vector<TreeNode> nodes_of(int branches, TreeNode own, const std::vector<bool>& filled);
// From nodes that branches below `end` complete to those that they add up to; `own` as above. In
// order, which were joined: the number of the left one, into which the one behind it went.
std::vector<size_t> join_nodes(int branches, TreeNode own, int end, std::vector<TreeNode>& nodes);

// The samples of an update stand in `branches` fixed ranges. Inside a branch everything is added in
// order; branches are added as a binary tree: node [a, b) = node [a, m) + node [m, b) with m =
// (a + b) / 2, so that several learners with neighbouring branches can add most of it apart
// (learn/tree_collective.h). A branch without samples is left out. Not thread safe.
//
// Branches are arrays of the operators' device; sums leave it once an update, for the host.
// Memory: a gradient; with several branches up to log2(branches) + 1 of them.
class GradientTree {
 public:
  // Values that are not `used` are never written and never read: they take no memory. `own`: the
  // branches that this learner adds; the others are another's.
  GradientTree(size_t floats, int branches, FloatRanges used, TreeNode own,
               const kernels::Operators& ops = kernels::cpu_operators());
  ~GradientTree();
  size_t floats() const { return floats_; }
  int branches() const { return branches_; }

  void begin();
  // Gives its memory back until the next begin().
  void release();
  // Where branch b is accumulated, zeros at first; valid until another one is asked for. Branches
  // ascend: those below are complete.
  kernels::View<float> branch(int b);
  // The sum over all branches, which are complete; zeros when there was none. Valid until begin().
  // Of a learner that has them all. In the memory of the host, and so are parts().
  std::span<float> total();
  // What the own branches add up to (nodes_of); nothing for those without samples. Valid until
  // begin().
  struct Part {
    TreeNode node;
    std::span<float> values;
  };
  // Floats from `complete` on get no more by any own branch, and these are summed on return; the
  // others may still get theirs by the last branch. From call to call `complete` falls; after 0 no
  // branch is asked for.
  std::vector<Part> parts(int64_t complete = 0);

 private:
  using Values = kernels::Array<float>;
  struct Node {
    int begin = 0, end = 0;  // branches from the first to behind the last that it holds
    Values values;
  };
  Values zeros();
  // Node `i` of the stack where the host finds it; there are copies of these floats then.
  std::span<float> on_host(size_t i, const FloatRanges& ranges);
  std::vector<TreeNode> nodes() const;
  void add(const Node& right, const Node& left, const FloatRanges& ranges);
  void join(int end);

  const kernels::Operators& ops_;
  const size_t floats_;
  const FloatRanges used_;
  const int branches_;
  const TreeNode own_;
  std::vector<Node> stack_;  // from left to right; the last one may be open
  int64_t summed_;           // floats from here on are those of parts()
  std::vector<Values> idle_;
  std::vector<ZeroedFloats> copies_;  // of nodes, where the host cannot follow the device
};

}  // namespace zeroth
