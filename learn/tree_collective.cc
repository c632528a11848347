#include "learn/tree_collective.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/ops.h"

namespace zeroth {
namespace {

template <class T>
std::string text_of(std::span<const T> values) {
  return {reinterpret_cast<const char*>(values.data()), values.size_bytes()};
}

template <class T>
std::vector<T> values_of(const std::string& text, const char* what) {
  if (text.size() % sizeof(T) != 0) fail(std::string("a rank sent half a ") + what);
  std::vector<T> values(text.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), text.data(), text.size());
  return values;
}

// A tree node's values over the ranges of a shard.
struct Piece {
  TreeNode node;
  std::vector<float*> values;  // by range
};

// Adds pieces, from left to right, as GradientTree adds branches.
class PieceTree {
 public:
  PieceTree(int branches, const std::vector<FloatRange>& ranges)
      : branches_(branches), ranges_(ranges) {}

  void add(Piece piece) {
    join(piece.node.begin);
    stack_.push_back(std::move(piece));
  }
  const Piece* total() {
    join(branches_);
    return stack_.empty() ? nullptr : &stack_.front();
  }

 private:
  void join(int end) {
    while (stack_.size() > 1) {
      Piece& right = stack_.back();
      Piece& left = stack_[stack_.size() - 2];
      if (smallest_node(branches_, left.node.begin, right.node.end - 1).end > end) return;
      for (size_t i = 0; i < ranges_.size(); ++i) {
        kernels::add(left.values[i], right.values[i], left.values[i],
                     ranges_[i].end - ranges_[i].begin);
      }
      left.node.end = right.node.end;
      stack_.pop_back();
    }
  }

  int branches_;
  const std::vector<FloatRange>& ranges_;
  std::vector<Piece> stack_;
};

}  // namespace

std::span<float> TreeCollective::reduce(GradientTree& gradients, const Shards& shards) {
  const std::vector<GradientTree::Part> parts = gradients.parts();
  std::vector<TreeNode> nodes;
  for (const GradientTree::Part& part : parts) nodes.push_back(part.node);
  const auto all = team_.gather("tree nodes", text_of(std::span<const TreeNode>(nodes)));

  const std::vector<FloatRange> ranges = shards.of(rank(), size());
  int64_t floats = 0;
  for (const FloatRange& range : ranges) floats += range.end - range.begin;
  std::vector<std::vector<float>> received;
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  PieceTree tree(gradients.branches(), ranges);
  std::vector<Piece> pieces;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) {
      for (const GradientTree::Part& part : parts) {
        Piece& piece = pieces.emplace_back(part.node, std::vector<float*>());
        for (const FloatRange& range : ranges)
          piece.values.push_back(part.values.data() + range.begin);
      }
      continue;
    }
    for (const GradientTree::Part& part : parts) {
      for (const FloatRange& range : shards.of(r, size())) {
        out.push_back(
            {r, std::as_bytes(part.values.subspan(range.begin, range.end - range.begin))});
      }
    }
    for (const TreeNode& node : values_of<TreeNode>(all[r], "tree node")) {
      Piece& piece = pieces.emplace_back(node, std::vector<float*>());
      float* to = received.emplace_back(floats).data();
      for (const FloatRange& range : ranges) {
        const auto length = static_cast<size_t>(range.end - range.begin);
        piece.values.push_back(to);
        in.push_back({r, std::as_writable_bytes(std::span(to, length))});
        to += length;
      }
    }
  }
  team_.exchange(out, in);
  for (Piece& piece : pieces) tree.add(std::move(piece));

  if (sum_ == nullptr) sum_ = std::make_unique<ZeroedFloats>(gradients.floats());
  const Piece* total = tree.total();
  for (size_t i = 0; i < ranges.size(); ++i) {
    float* to = sum_->span().data() + ranges[i].begin;
    const int64_t length = ranges[i].end - ranges[i].begin;
    if (total != nullptr) {
      std::copy_n(total->values[i], length, to);
    } else {
      std::fill_n(to, length, 0.0f);
    }
  }
  return sum_->span();
}

void TreeCollective::gather(std::span<float> values, const Shards& shards) {
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  const auto part = [&](const FloatRange& range) {
    return values.subspan(range.begin, range.end - range.begin);
  };
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    for (const FloatRange& range : shards.of(rank(), size()))
      out.push_back({r, std::as_bytes(part(range))});
    for (const FloatRange& range : shards.of(r, size()))
      in.push_back({r, std::as_writable_bytes(part(range))});
  }
  team_.exchange(out, in);
}

void TreeCollective::gather_chunks(std::span<double> values, const Shards& shards) {
  const auto part = [&](int r) {
    const size_t begin = shards.first_chunk(r, size()), end = shards.first_chunk(r + 1, size());
    return values.subspan(begin, end - begin);
  };
  const auto all = team_.gather("norm", text_of(std::span<const double>(part(rank()))));
  for (int r = 0; r < size(); ++r) {
    const auto theirs = values_of<double>(all[r], "norm");
    if (theirs.size() != part(r).size()) fail("rank " + std::to_string(r) + " has other shards");
    std::copy(theirs.begin(), theirs.end(), part(r).begin());
  }
}

void TreeCollective::add(std::span<int64_t> counts) {
  const auto all = team_.gather("counts", text_of(std::span<const int64_t>(counts)));
  std::fill(counts.begin(), counts.end(), 0);
  for (const std::string& text : all) {
    const auto theirs = values_of<int64_t>(text, "count");
    if (theirs.size() != counts.size()) fail("a rank counts other things");
    for (size_t i = 0; i < theirs.size(); ++i) counts[i] += theirs[i];
  }
}

}  // namespace zeroth
