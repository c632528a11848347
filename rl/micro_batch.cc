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

bool any_loss(const Group& group) {
  return std::any_of(group.samples.begin(), group.samples.end(),
                     [](const Sample& sample) { return has_loss(sample); });
}

int64_t group_rows(const Group& group) {
  int64_t rows = prompt_rows(group);
  for (const Sample& sample : group.samples) {
    if (has_loss(sample)) rows += sample_rows(sample);
  }
  return rows;
}

}  // namespace

std::vector<SliceList> plan_micro_batches(std::span<const Group> groups,
                                          std::span<const int32_t> order, int64_t max_tokens) {
  std::vector<SliceList> calls;
  int64_t room = 0;
  const auto open_call = [&] {
    calls.emplace_back();
    room = max_tokens;
  };
  for (const int32_t index : order) {
    const Group& group = groups[index];
    GroupSlice* slice = nullptr;
    const int64_t whole = group_rows(group);
    if (!any_loss(group)) continue;
    if (!calls.empty() && whole > room && whole <= max_tokens) open_call();
    for (size_t i = 0; i < group.samples.size(); ++i) {
      const Sample& sample = group.samples[i];
      if (!has_loss(sample)) continue;
      const int64_t rows = sample_rows(sample) + (slice == nullptr ? prompt_rows(group) : 0);
      if (calls.empty() || (rows > room && !calls.back().empty())) {
        open_call();
        slice = nullptr;
      }
      if (slice == nullptr) {
        calls.back().push_back({index, {}});
        slice = &calls.back().back();
        room -= prompt_rows(group);
      }
      slice->samples.push_back(static_cast<int32_t>(i));
      room -= sample_rows(sample);
    }
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
                       const Tickets& tickets) {
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
    first_child.push_back(
        batch_.packed.add_group(std::span(prompt).first(prompt.size() - 1), children));
  }
  batch_.packed.finish();
  find_activations(slices, first_child, tickets);
  batch_.temperature.assign(batch_.target.size(), static_cast<float>(temperature));
  if (!truncated) return;
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

}  // namespace zeroth
