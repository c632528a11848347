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

std::vector<size_t> join_nodes(int branches, TreeNode own, int end, std::vector<TreeNode>& nodes) {
  std::vector<size_t> joins;
  while (nodes.size() > 1) {
    const TreeNode right = nodes.back();
    const TreeNode joint = smallest_node(branches, nodes[nodes.size() - 2].begin, right.end - 1);
    if (joint.begin < own.begin || joint.end > end) break;
    nodes.pop_back();
    nodes.back().end = right.end;
    joins.push_back(nodes.size() - 1);
  }
  return joins;
}

std::vector<TreeNode> nodes_of(int branches, TreeNode own, const std::vector<bool>& filled) {
  std::vector<TreeNode> nodes;
  for (int b = own.begin; b < own.end; ++b) {
    if (!filled[b]) continue;
    join_nodes(branches, own, b, nodes);
    nodes.push_back({b, b + 1});
  }
  join_nodes(branches, own, own.end, nodes);
  return nodes;
}

GradientTree::GradientTree(size_t floats, int branches, FloatRanges used, TreeNode own,
                           const kernels::Operators& ops)
    : ops_(ops),
      floats_(floats),
      used_(std::move(used)),
      branches_(branches),
      own_(own),
      summed_(static_cast<int64_t>(floats)) {}

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
  summed_ = static_cast<int64_t>(floats_);
}

void GradientTree::release() {
  begin();
  idle_.clear();
  copies_.clear();
}

std::vector<TreeNode> GradientTree::nodes() const {
  std::vector<TreeNode> nodes;
  for (const Node& node : stack_) nodes.push_back({node.begin, node.end});
  return nodes;
}

void GradientTree::add(const Node& right, const Node& left, const FloatRanges& ranges) {
  const kernels::At<float> to = left.values.data(), from = right.values.data();
  for (const auto& [begin, end] : ranges)
    ops_.add(to + begin, from + begin, to + begin, end - begin);
}

void GradientTree::join(int end) {
  std::vector<TreeNode> nodes = this->nodes();
  for (const size_t left : join_nodes(branches_, own_, end, nodes)) {
    add(stack_[left + 1], stack_[left], used_);
    stack_[left].end = stack_[left + 1].end;
    idle_.push_back(std::move(stack_[left + 1].values));
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

std::span<float> GradientTree::on_host(size_t i, const FloatRanges& ranges) {
  const kernels::At<float> values = stack_[i].values.data();
  if (ops_.device().in_host_memory()) return {values.address(), floats_};
  while (copies_.size() <= i) copies_.emplace_back(floats_);
  const std::span<float> copy = copies_[i].span();
  for (const auto& [begin, end] : ranges)
    kernels::copy_out(ops_.device(), copy.data() + begin, values + begin, end - begin);
  return copy;
}

std::span<float> GradientTree::total() {
  if (stack_.empty()) stack_.push_back({0, branches_, zeros()});
  join(branches_);
  return on_host(0, used_);
}

std::vector<GradientTree::Part> GradientTree::parts(int64_t complete) {
  const FloatRanges ranges = common(used_, {{complete, summed_}});
  summed_ = std::min(summed_, complete);
  std::vector<TreeNode> nodes = this->nodes();
  for (const size_t left : join_nodes(branches_, own_, own_.end, nodes))
    add(stack_[left + 1], stack_[left], ranges);
  std::vector<Part> parts;
  for (size_t i = 0; i < nodes.size(); ++i) parts.push_back({nodes[i], on_host(i, ranges)});
  return parts;
}

}  // namespace zeroth
