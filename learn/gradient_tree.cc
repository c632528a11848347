#include "learn/gradient_tree.h"

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

GradientTree::GradientTree(size_t floats, int branches, FloatRanges used, TreeNode own,
                           const kernels::Operators& ops)
    : ops_(ops), floats_(floats), used_(std::move(used)), branches_(branches), own_(own) {}

GradientTree::~GradientTree() = default;

GradientTree::Values GradientTree::zeros() {
  if (idle_.empty()) idle_.emplace_back(ops_.device(), static_cast<int64_t>(floats_));
  Values values = std::move(idle_.back());
  idle_.pop_back();
  for (const auto& [begin, end] : used_)
    kernels::clear(ops_.device(), values.data() + begin, end - begin);
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
    const kernels::At<float> to = left.values.data(), from = right.values.data();
    for (const auto& [begin, end] : used_)
      ops_.add(to + begin, from + begin, to + begin, end - begin);
    left.end = right.end;
    idle_.push_back(std::move(right.values));
    stack_.pop_back();
  }
}

kernels::View<float> GradientTree::branch(int b) {
  if (stack_.empty() || stack_.back().end != b + 1) {
    join(b);
    stack_.push_back({b, b + 1, zeros()});
  }
  return {stack_.back().values.data(), floats_};
}

std::span<float> GradientTree::on_host(size_t i) {
  const kernels::At<float> values = stack_[i].values.data();
  if (ops_.device().in_host_memory()) return {values.address(), floats_};
  while (copies_.size() <= i) copies_.emplace_back(floats_);
  const std::span<float> copy = copies_[i].span();
  for (const auto& [begin, end] : used_)
    kernels::copy_out(ops_.device(), copy.data() + begin, values + begin, end - begin);
  return copy;
}

std::span<float> GradientTree::total() {
  if (stack_.empty()) stack_.push_back({0, branches_, zeros()});
  join(branches_);
  return on_host(0);
}

std::vector<GradientTree::Part> GradientTree::parts() {
  join(own_.end);
  std::vector<Part> parts;
  for (size_t i = 0; i < stack_.size(); ++i)
    parts.push_back({{stack_[i].begin, stack_[i].end}, on_host(i)});
  return parts;
}

}  // namespace zeroth
