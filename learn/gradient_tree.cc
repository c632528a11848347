#include "learn/gradient_tree.h"

#include <algorithm>
#include <utility>

namespace zeroth {
TreeNode smallest_node(int branches, int first, int last) {
  TreeNode node{0, branches};
  for (;;) {
    const int middle = (node.begin + node.end) / 2;
    if (last < middle) {
      node.end = middle;
    } else if (first >= middle) {
      node.begin = middle;
    } else {
      return node;
    }
  }
}

GradientTree::GradientTree(size_t floats, int branches, size_t kept, size_t skipped, TreeNode own,
                           const kernels::Operators& ops)
    : ops_(ops),
      floats_(floats),
      kept_(kept),
      skipped_(std::max(kept, skipped)),
      branches_(branches),
      own_(own) {}

GradientTree::~GradientTree() = default;

GradientTree::Values GradientTree::zeros() {
  if (idle_.empty()) return std::make_unique<ZeroedFloats>(floats_);
  Values values = std::move(idle_.back());
  idle_.pop_back();
  const std::span<float> all = values->span();
  std::fill(all.begin(), all.begin() + kept_, 0.0f);
  std::fill(all.begin() + skipped_, all.end(), 0.0f);
  return values;
}

void GradientTree::begin() {
  for (Node& node : stack_) idle_.push_back(std::move(node.values));
  stack_.clear();
}

void GradientTree::join(int end) {
  while (stack_.size() > 1) {
    Node& right = stack_.back();
    Node& left = stack_[stack_.size() - 2];
    const TreeNode joint = smallest_node(branches_, left.begin, right.end - 1);
    if (joint.begin < own_.begin || joint.end > end) return;
    float* to = left.values->span().data();
    const float* from = right.values->span().data();
    ops_.add(to, from, to, static_cast<int64_t>(kept_));
    ops_.add(to + skipped_, from + skipped_, to + skipped_,
             static_cast<int64_t>(floats_ - skipped_));
    left.end = right.end;
    idle_.push_back(std::move(right.values));
    stack_.pop_back();
  }
}

std::span<float> GradientTree::branch(int b) {
  if (stack_.empty() || stack_.back().end != b + 1) {
    join(b);
    stack_.push_back({b, b + 1, zeros()});
  }
  return stack_.back().values->span();
}

std::span<float> GradientTree::total() {
  if (stack_.empty()) stack_.push_back({0, branches_, zeros()});
  join(branches_);
  return stack_.front().values->span();
}

std::vector<GradientTree::Part> GradientTree::parts() {
  join(own_.end);
  std::vector<Part> parts;
  for (Node& node : stack_) parts.push_back({{node.begin, node.end}, node.values->span()});
  return parts;
}

}  // namespace zeroth
