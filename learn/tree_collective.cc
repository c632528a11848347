#include "learn/tree_collective.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
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

// How the nodes of all members are added, as numbers in the order of members: the right one into the
// left one, the last time into the sum.
std::vector<std::pair<size_t, size_t>> joins_of(int branches,
                                                const std::vector<std::vector<TreeNode>>& nodes) {
  std::vector<std::pair<size_t, size_t>> joins;
  std::vector<TreeNode> stack;
  std::vector<size_t> number;
  const auto join = [&](int end) {
    for (const size_t left : join_nodes(branches, {0, branches}, end, stack)) {
      joins.emplace_back(number[left], number[left + 1]);
      number.pop_back();
    }
  };
  size_t next = 0;
  for (const auto& of : nodes) {
    for (const TreeNode& node : of) {
      join(node.begin);
      stack.push_back(node);
      number.push_back(next++);
    }
  }
  join(branches);
  return joins;
}

void check_nodes(const std::vector<GradientTree::Part>& parts, const std::vector<TreeNode>& nodes,
                 int rank) {
  const bool same = std::equal(parts.begin(), parts.end(), nodes.begin(), nodes.end(),
                               [](const GradientTree::Part& part, const TreeNode& node) {
                                 return part.node.begin == node.begin && part.node.end == node.end;
                               });
  if (!same)
    fail("rank " + std::to_string(rank) + " has differentiated other branches than it said");
}

}  // namespace

TreeCollective::~TreeCollective() {
  // What is under way has the memory of this member.
  if (reduction_.shards != nullptr || !gathering_.values.empty()) team_.cancel_exchanges();
}

// ---- the sum of gradients

void TreeCollective::begin_reduce(const std::vector<bool>& filled, const Shards& shards) {
  reduction_ = {};
  reduction_.bands = shards.bands(size());
  reduction_.unsent = reduction_.bands.size();
  const auto branches = static_cast<int>(filled.size());
  int64_t theirs = 0;  // nodes
  for (int r = 0; r < size(); ++r) {
    reduction_.nodes.push_back(nodes_of(branches, own_branches(branches, r, size()), filled));
    if (r != rank()) theirs += static_cast<int64_t>(reduction_.nodes[r].size());
  }
  reduction_.joins = joins_of(branches, reduction_.nodes);
  int64_t floats = 0;
  for (const Band& band : reduction_.bands) {
    reduction_.at.push_back(floats);
    floats += theirs * floats_in(band.of[rank()]);
  }
  received_.get(floats);
  reduction_.shards = &shards;
  reduction_.coming.resize(reduction_.bands.size());
  for (size_t b = reduction_.bands.size(); b-- > 0;) {
    std::vector<Incoming> in;
    for (int r = 0; r < size(); ++r) {
      for (size_t n = 0; r != rank() && n < reduction_.nodes[r].size(); ++n) {
        float* to = received(b, r, n);
        for (const FloatRange& range : reduction_.bands[b].of[rank()]) {
          const auto length = static_cast<size_t>(range.end - range.begin);
          in.push_back({r, std::as_writable_bytes(std::span(to, length))});
          to += length;
        }
      }
    }
    reduction_.coming[b] = team_.begin_exchange({}, in);
  }
}

// Where a band's floats of another member's node are received, one range behind the other.
float* TreeCollective::received(size_t band, int member, size_t node) {
  int64_t before = static_cast<int64_t>(node);
  for (int m = 0; m < member; ++m) {
    if (m != rank()) before += static_cast<int64_t>(reduction_.nodes[m].size());
  }
  return received_.data() + reduction_.at[band] +
         before * floats_in(reduction_.bands[band].of[rank()]);
}

// Zeros, of which most take no memory.
std::span<float> TreeCollective::unused(size_t floats) {
  if (spare_ == nullptr || spare_->span().size() < floats)
    spare_ = std::make_unique<ZeroedFloats>(floats);
  return spare_->span();
}

// `nodes`: the own ones' values.
void TreeCollective::send_band(size_t band, const std::vector<std::span<const float>>& nodes) {
  std::vector<Outgoing> out;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    for (const std::span<const float> values : nodes) {
      for (const FloatRange& range : reduction_.bands[band].of[r])
        out.push_back({r, std::as_bytes(values.subspan(range.begin, range.end - range.begin))});
    }
  }
  reduction_.going.push_back(team_.begin_exchange(out, {}));
}

void TreeCollective::contribute(GradientTree& gradients, int64_t from) {
  size_t ready = reduction_.unsent;
  while (ready > 0 && reduction_.bands[ready - 1].range.begin >= from) --ready;
  if (ready == reduction_.unsent) return;
  const auto parts = gradients.parts(reduction_.bands[ready].range.begin);
  check_nodes(parts, reduction_.nodes[rank()], rank());
  std::vector<std::span<const float>> nodes;
  for (const GradientTree::Part& part : parts) nodes.push_back(part.values);
  while (reduction_.unsent > ready) send_band(--reduction_.unsent, nodes);
}

std::span<float> TreeCollective::reduce(GradientTree& gradients,
                                        std::span<GradientTree* const> collected) {
  if (reduction_.shards == nullptr) fail("a sum of gradients that nobody has begun");
  contribute(gradients, 0);
  const auto own = gradients.parts();
  check_nodes(own, reduction_.nodes[rank()], rank());
  team_.meet();
  // The sum goes where the first of the own nodes is: nobody else wants what this member needs.
  const std::span<float> sum = own.empty() ? unused(gradients.floats()) : own.front().values;
  if (!reduction_.shards->experts().empty()) add_experts(own, collected, sum);
  for (size_t b = reduction_.bands.size(); b-- > 0;) {
    team_.finish_exchange(reduction_.coming[b]);
    add_band(b, own, sum);
  }
  for (const Ticket ticket : reduction_.going) team_.finish_exchange(ticket);
  reduction_.shards = nullptr;
  return sum;
}

void TreeCollective::abandon() {
  if (reduction_.shards == nullptr) return;
  const auto floats = reduction_.bands.empty() ? 0 : reduction_.bands.back().range.end;
  const std::vector<std::span<const float>> nodes(reduction_.nodes[rank()].size(),
                                                  unused(static_cast<size_t>(floats)));
  while (reduction_.unsent > 0) send_band(--reduction_.unsent, nodes);
  team_.meet();
  for (const auto* tickets : {&reduction_.coming, &reduction_.going}) {
    for (const Ticket ticket : *tickets) team_.finish_exchange(ticket);
  }
  reduction_.shards = nullptr;
}

// `values`: of the range, by member and node.
void TreeCollective::add_nodes(int64_t length, const std::vector<float*>& values, float* to) const {
  const auto& joins = reduction_.joins;
  for (size_t i = 0; i < joins.size(); ++i) {
    float* const left = values[joins[i].first];
    kernels::add(left, values[joins[i].second], i + 1 == joins.size() ? to : left, length);
  }
  if (!joins.empty()) return;
  if (values.empty()) std::fill_n(to, length, 0.0f);
  if (!values.empty() && values[0] != to) std::copy_n(values[0], length, to);
}

void TreeCollective::add_band(size_t band, const std::vector<GradientTree::Part>& own,
                              std::span<float> sum) {
  int64_t before = 0;  // of the band's own part
  for (const FloatRange& range : reduction_.bands[band].of[rank()]) {
    std::vector<float*> values;
    for (int r = 0; r < size(); ++r) {
      for (size_t n = 0; n < reduction_.nodes[r].size(); ++n) {
        values.push_back(r == rank() ? own[n].values.data() + range.begin
                                     : received(band, r, n) + before);
      }
    }
    add_nodes(range.end - range.begin, values, sum.data() + range.begin);
    before += range.end - range.begin;
  }
}

// The floats of experts, of which a member has what all branches gave to its own. Others need some
// of it for chunks of the norm that hold floats of several members.
void TreeCollective::add_experts(const std::vector<GradientTree::Part>& own,
                                 std::span<GradientTree* const> collected, std::span<float> sum) {
  const Shards& shards = *reduction_.shards;
  std::vector<std::vector<GradientTree::Part>> parts(size());  // of every member's branches
  for (int r = 0; r < size(); ++r) {
    parts[r] = r == rank() ? own : collected[r]->parts();
    check_nodes(parts[r], reduction_.nodes[r], r);
  }
  std::vector<Outgoing> out;
  std::vector<Incoming> in;
  size_t nodes = 0;
  for (const auto& of : parts) nodes += of.size();
  const FloatRanges needed = shards.needed(rank(), size());
  std::vector<std::vector<float>> theirs(size());  // [range][node], one behind the other
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    for (const FloatRange& range : common(shards.needed(r, size()), shards.experts()[rank()])) {
      for (const auto& of : parts) {
        for (const GradientTree::Part& part : of)
          out.push_back(
              {r, std::as_bytes(part.values.subspan(range.begin, range.end - range.begin))});
      }
    }
    const FloatRanges ranges = common(needed, shards.experts()[r]);
    theirs[r].resize(nodes * static_cast<size_t>(floats_in(ranges)));
    float* next = theirs[r].data();
    for (const FloatRange& range : ranges) {
      const auto length = static_cast<size_t>(range.end - range.begin);
      for (size_t n = 0; n < nodes; ++n, next += length)
        in.push_back({r, std::as_writable_bytes(std::span(next, length))});
    }
  }
  team_.exchange(out, in);
  for (int r = 0; r < size(); ++r) {
    float* next = theirs[r].data();
    for (const FloatRange& range : common(needed, shards.experts()[r])) {
      const int64_t length = range.end - range.begin;
      std::vector<float*> values;
      for (const auto& of : parts) {
        for (const GradientTree::Part& part : of) {
          values.push_back(r == rank() ? part.values.data() + range.begin : next);
          if (r != rank()) next += length;
        }
      }
      add_nodes(length, values, sum.data() + range.begin);
    }
  }
}

// ---- parameters

void TreeCollective::begin_gather(std::span<float> values, const Shards& shards) {
  gathering_ = {};
  gathering_.bands = shards.bands(size());
  gathering_.values = values;
  for (const Band& band : gathering_.bands) {
    std::vector<Incoming> in;
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      for (const FloatRange& range : band.of[r])
        in.push_back(
            {r, std::as_writable_bytes(values.subspan(range.begin, range.end - range.begin))});
    }
    gathering_.coming.push_back(team_.begin_exchange({}, in));
  }
}

void TreeCollective::give(size_t band) {
  std::vector<Outgoing> out;
  for (int r = 0; r < size(); ++r) {
    if (r == rank()) continue;
    for (const FloatRange& range : gathering_.bands[band].of[rank()])
      out.push_back(
          {r, std::as_bytes(gathering_.values.subspan(range.begin, range.end - range.begin))});
  }
  gathering_.going.push_back(team_.begin_exchange(out, {}));
}

void TreeCollective::await(int64_t end) {
  if (gathering_.values.empty()) return;
  if (!std::exchange(gathering_.met, true)) team_.meet();
  size_t& next = gathering_.awaited;
  for (; next < gathering_.bands.size() && gathering_.bands[next].range.begin < end; ++next)
    team_.finish_exchange(gathering_.coming[next]);
  if (end < kAll) return;
  for (const Ticket ticket : gathering_.going) team_.finish_exchange(ticket);
  gathering_.values = {};
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
