#include "learn/tree_collective.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/memory.h"
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

// What a member sends of the tree nodes that it holds: of the own ones what all share and what its
// experts got, of those of others what its experts got.
void send(const Shards& shards, const FloatRanges& needed, int to, int rank,
          const std::vector<std::vector<GradientTree::Part>>& parts, std::vector<Outgoing>& out) {
  const auto add = [&](const GradientTree::Part& part, const FloatRanges& ranges) {
    for (const FloatRange& range : ranges) {
      out.push_back({to, std::as_bytes(part.values.subspan(range.begin, range.end - range.begin))});
    }
  };
  for (const GradientTree::Part& part : parts[rank]) add(part, shards.shared(needed));
  if (shards.experts().empty()) return;
  const FloatRanges experts = common(needed, shards.experts()[rank]);
  for (const auto& of : parts) {
    for (const GradientTree::Part& part : of) add(part, experts);
  }
}

// The tree nodes of all members over the floats that one needs. A float that all share comes from
// the member whose node it is, one of an expert from the expert's member.
class Received {
 public:
  Received(const Shards& shards, const FloatRanges& needed, int rank,
           const std::vector<std::vector<TreeNode>>& nodes)
      : rank_(rank), nodes_(nodes) {
    add(shards.shared(needed), -1);
    for (size_t r = 0; r < shards.experts().size(); ++r)
      add(common(needed, shards.experts()[r]), static_cast<int>(r));
    size_t all = 0;
    for (const auto& of : nodes_) all += of.size();
    floats_ = floats_in(ranges_);
    values_ = allocate_array<float>(all * static_cast<size_t>(floats_));  // most is never touched
  }

  const FloatRanges& ranges() const { return ranges_; }
  // What member `from` sends, in its order.
  void take(int from, std::vector<Incoming>& in) const {
    const auto add = [&](int member, int source) {
      for (size_t n = 0; n < nodes_[member].size(); ++n) {
        for (size_t i = 0; i < ranges_.size(); ++i) {
          if (source_[i] != source) continue;
          const auto length = static_cast<size_t>(ranges_[i].end - ranges_[i].begin);
          in.push_back({from, std::as_writable_bytes(std::span(place(member, n, i), length))});
        }
      }
    };
    add(from, -1);
    for (size_t member = 0; member < nodes_.size(); ++member) add(static_cast<int>(member), from);
  }
  // Node `n` of a member; what was not sent lies in `parts`.
  Piece piece(int member, size_t n,
              const std::vector<std::vector<GradientTree::Part>>& parts) const {
    Piece piece{nodes_[member][n], {}};
    for (size_t i = 0; i < ranges_.size(); ++i) {
      const bool here = source_[i] == rank_ || (source_[i] < 0 && member == rank_);
      piece.values.push_back(here ? parts[member][n].values.data() + ranges_[i].begin
                                  : place(member, n, i));
    }
    return piece;
  }

 private:
  void add(const FloatRanges& ranges, int source) {
    for (const FloatRange& range : ranges) {
      ranges_.push_back(range);
      source_.push_back(source);
      at_.push_back(at_.empty() ? 0
                                : at_.back() + ranges_[ranges_.size() - 2].end -
                                      ranges_[ranges_.size() - 2].begin);
    }
  }
  float* place(int member, size_t n, size_t range) const {
    size_t before = n;
    for (int m = 0; m < member; ++m) before += nodes_[m].size();
    return values_.get() + static_cast<int64_t>(before) * floats_ + at_[range];
  }

  int rank_;
  const std::vector<std::vector<TreeNode>>& nodes_;
  FloatRanges ranges_;       // of one source after another's
  std::vector<int> source_;  // by range: whose expert's it is, or -1
  std::vector<int64_t> at_;  // by range: where its floats begin among a node's
  int64_t floats_ = 0;       // of a node
  Memory<float> values_;
};

}  // namespace

std::span<float> TreeCollective::reduce(GradientTree& gradients, const Shards& shards,
                                        std::span<GradientTree* const> collected) {
  // The parts of every member's branches that are here: those of its experts, and all of the own.
  std::vector<std::vector<GradientTree::Part>> parts(size());
  parts[rank()] = gradients.parts();
  std::vector<TreeNode> nodes;
  for (const GradientTree::Part& part : parts[rank()]) nodes.push_back(part.node);
  const auto texts = team_.gather("tree nodes", text_of(std::span<const TreeNode>(nodes)));
  std::vector<std::vector<TreeNode>> all;
  for (const std::string& text : texts) all.push_back(values_of<TreeNode>(text, "tree node"));
  // Here nobody adds to them any more.
  for (int r = 0; !collected.empty() && r < size(); ++r) {
    if (collected[r] != nullptr) parts[r] = collected[r]->parts();
    const bool same =
        std::equal(parts[r].begin(), parts[r].end(), all[r].begin(), all[r].end(),
                   [](const GradientTree::Part& part, const TreeNode& node) {
                     return part.node.begin == node.begin && part.node.end == node.end;
                   });
    if (!same) fail("rank " + std::to_string(r) + " has differentiated other branches");
  }

  const FloatRanges needed = shards.needed(rank(), size());
  const Received received(shards, needed, rank(), all);
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    send(shards, shards.needed(r, size()), r, rank(), parts, out);
    received.take(r, in);
  }
  team_.exchange(out, in);

  PieceTree tree(gradients.branches(), received.ranges());
  for (int r = 0; r < size(); ++r) {
    for (size_t n = 0; n < all[r].size(); ++n) tree.add(received.piece(r, n, parts));
  }
  if (sum_ == nullptr) sum_ = std::make_unique<ZeroedFloats>(gradients.floats());
  const Piece* total = tree.total();
  const FloatRanges& ranges = received.ranges();
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
    for (const FloatRange& range : shards.shared(shards.of(rank(), size())))
      out.push_back({r, std::as_bytes(part(range))});
    for (const FloatRange& range : shards.shared(shards.of(r, size())))
      in.push_back({r, std::as_writable_bytes(part(range))});
  }
  team_.exchange(out, in);
}

void TreeCollective::gather_chunks(std::span<double> values, const Shards& shards) {
  std::vector<double> own;
  for (const size_t c : shards.chunks_of(rank(), size())) own.push_back(values[c]);
  const auto all = team_.gather("norm", text_of(std::span<const double>(own)));
  for (int r = 0; r < size(); ++r) {
    const auto theirs = values_of<double>(all[r], "norm");
    const std::vector<size_t> chunks = shards.chunks_of(r, size());
    if (theirs.size() != chunks.size()) fail("rank " + std::to_string(r) + " has other shards");
    for (size_t i = 0; i < chunks.size(); ++i) values[chunks[i]] = theirs[i];
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
