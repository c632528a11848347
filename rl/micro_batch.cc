#include "rl/micro_batch.h"

#include <algorithm>

namespace zeroth {
namespace {

// Rows that a sample adds to a call besides its group's shared prompt.
int64_t sample_rows(const Sample& sample) { return static_cast<int64_t>(sample.tokens.size()); }

// The last prompt token is repeated in front of every sample so that each response row predicts one
// token.
int64_t prompt_rows(const Group& group) {
  return static_cast<int64_t>(group.prompt_tokens.size()) - 1;
}

int64_t slice_rows(std::span<const Group> groups, const GroupSlice& slice) {
  const Group& group = groups[slice.group];
  int64_t rows = prompt_rows(group);
  for (const int32_t index : slice.samples) rows += sample_rows(group.samples[index]);
  return rows;
}

}  // namespace

std::vector<GroupSlice> plan_leaves(std::span<const Group> groups, std::span<const int32_t> order,
                                    int64_t leaf_tokens, bool replay) {
  std::vector<GroupSlice> leaves;
  for (const int32_t index : order) {
    const Group& group = groups[index];
    int64_t room = 0;
    bool open = false;
    for (size_t i = 0; i < group.samples.size(); ++i) {
      if (!has_loss(group.samples[i])) continue;
      const int64_t rows = sample_rows(group.samples[i]);
      const bool other_prompt =
          replay && open &&
          group.samples[leaves.back().samples[0]].prompt_experts != group.samples[i].prompt_experts;
      if (!open || rows > room || other_prompt) {
        leaves.push_back({index, {}});
        room = leaf_tokens - prompt_rows(group);
        open = true;
      }
      leaves.back().samples.push_back(static_cast<int32_t>(i));
      room -= rows;
    }
  }
  return leaves;
}

std::vector<SliceList> plan_calls(std::span<const Group> groups, std::span<const GroupSlice> leaves,
                                  int64_t max_tokens) {
  std::vector<SliceList> calls;
  int64_t room = 0;
  for (const GroupSlice& leaf : leaves) {
    const int64_t rows = slice_rows(groups, leaf);
    if (calls.empty() || rows > room) {
      calls.emplace_back();
      room = max_tokens;
    }
    calls.back().push_back(leaf);
    room -= rows;
  }
  return calls;
}

void MicroBatch::find_activations(const SliceList& slices, const std::vector<int>& first_child,
                                  const Tickets& tickets) {
  activation_rows_.clear();
  if (samples_.empty() || tickets.empty()) return;
  const auto ticket_of = [&](const Row& row) -> const ActivationTicket& {
    return tickets[row.group][row.sample];
  };
  activation_epoch_ = ticket_of(samples_.front()).epoch;
  for (const Row& row : samples_) {
    const ActivationTicket& ticket = ticket_of(row);
    if (ticket.rows.empty() || ticket.epoch != activation_epoch_) return;
  }
  activation_rows_.resize(batch_.packed.rows());
  for (size_t g = 0; g < slices.size(); ++g) {
    const std::vector<ActivationTicket>& of_group = tickets[slices[g].group];
    const std::vector<int32_t>& samples = slices[g].samples;
    // The prompt without its last token, then every sample from that token on.
    const PackedBatch::Segment prompt = batch_.packed.segment(first_child[g] - 1);
    std::copy_n(of_group[samples[0]].rows.begin(), prompt.rows,
                activation_rows_.begin() + prompt.row);
    for (size_t i = 0; i < samples.size(); ++i) {
      const PackedBatch::Segment child =
          batch_.packed.segment(first_child[g] + static_cast<int>(i));
      std::copy_n(of_group[samples[i]].rows.begin() + prompt.rows, child.rows,
                  activation_rows_.begin() + child.row);
    }
  }
}

std::span<const int32_t> MicroBatch::activation_rows(int64_t epoch) const {
  if (epoch != activation_epoch_) return {};
  return activation_rows_;
}

void MicroBatch::build(std::span<const Group> groups, const SliceList& slices, double temperature,
                       const Tickets& tickets, RoutingUse use) {
  batch_.clear();
  samples_.clear();
  bool truncated = false;
  std::vector<std::vector<TokenId>> inputs;
  std::vector<std::span<const TokenId>> children;
  std::vector<int> first_child;
  for (const GroupSlice& slice : slices) {
    const Group& group = groups[slice.group];
    const std::vector<TokenId>& prompt = group.prompt_tokens;
    inputs.clear();
    children.clear();
    for (const int32_t index : slice.samples) {
      const Sample& sample = group.samples[index];
      std::vector<TokenId> input{prompt.back()};
      input.insert(input.end(), sample.tokens.begin(), sample.tokens.end() - 1);
      inputs.push_back(std::move(input));
      samples_.push_back(
          {slice.group, index, static_cast<int64_t>(batch_.target.size()), sample_rows(sample)});
      batch_.target.insert(batch_.target.end(), sample.tokens.begin(), sample.tokens.end());
      truncated = truncated || !sample.kept_offsets.empty();
    }
    for (const auto& input : inputs) children.emplace_back(input);
    batch_.packed.begin_part();
    first_child.push_back(
        batch_.packed.add_group(std::span(prompt).first(prompt.size() - 1), children));
  }
  batch_.packed.finish();
  find_activations(slices, first_child, tickets);
  batch_.temperature.assign(batch_.target.size(), static_cast<float>(temperature));
  if (truncated) lay_kept_sets(groups);
  if (use == RoutingUse::kNone) return;
  lay_routing(groups, slices, first_child);
  batch_.replay = use == RoutingUse::kReplay;
}

void MicroBatch::lay_kept_sets(std::span<const Group> groups) {
  for (const Row& row : samples_) {
    const Sample& sample = groups[row.group].samples[row.sample];
    for (int64_t t = 0; t < row.count; ++t) {
      if (sample.kept_offsets.empty()) {
        batch_.kept.emplace_back();
        continue;
      }
      const int32_t begin = sample.kept_offsets[t], end = sample.kept_offsets[t + 1];
      batch_.kept.emplace_back(sample.kept_ids.data() + begin, static_cast<size_t>(end - begin));
    }
  }
}

void MicroBatch::lay_routing(std::span<const Group> groups, const SliceList& slices,
                             const std::vector<int>& first_child) {
  // Bytes of a row; 0: no sample has any.
  size_t width = 0;
  for (const Row& row : samples_) {
    const Sample& sample = groups[row.group].samples[row.sample];
    if (!sample.experts.empty()) width = sample.experts.size() / sample.tokens.size();
  }
  if (width == 0) return;
  batch_.experts.assign(batch_.packed.rows() * width, RecordedRouting::kNone);
  const auto lay = [&](const PackedBatch::Segment& rows, const std::vector<uint8_t>& experts) {
    if (experts.size() != rows.rows * width) return;
    const auto to = batch_.experts.begin() + rows.row * static_cast<int64_t>(width);
    std::copy(experts.begin(), experts.end(), to);
    for (size_t at = 0; at < experts.size(); at += top_k_)
      std::sort(to + static_cast<std::ptrdiff_t>(at),
                to + static_cast<std::ptrdiff_t>(at) + top_k_);
  };
  for (size_t g = 0; g < slices.size(); ++g) {
    const Group& group = groups[slices[g].group];
    const std::vector<int32_t>& samples = slices[g].samples;
    lay(batch_.packed.segment(first_child[g] - 1), group.samples[samples[0]].prompt_experts);
    for (size_t i = 0; i < samples.size(); ++i)
      lay(batch_.packed.segment(first_child[g] + static_cast<int>(i)),
          group.samples[samples[i]].experts);
  }
}

}  // namespace zeroth
