#include "rl/shared_moments.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace zeroth {
namespace {

constexpr int64_t kPiece = int64_t{1} << 22;  // floats in memory at a time

// [begin, end) of `moment`, which is rank `owner`'s, to rank 0.
void fetch(std::span<float> moment, int64_t begin, int64_t end, int owner, Team& team,
           std::vector<float>& buffer, const std::function<void(std::span<const float>)>& write) {
  const std::span<float> part = moment.subspan(begin, end - begin);
  if (owner == 0) {
    if (team.first()) write(part);
    return;
  }
  if (team.first()) {
    buffer.resize(part.size());
    const Incoming in{owner, std::as_writable_bytes(std::span(buffer))};
    team.exchange({}, std::span(&in, 1));
    write(buffer);
  } else if (team.rank() == owner) {
    const Outgoing out{0, std::as_bytes(part)};
    team.exchange(std::span(&out, 1), {});
  } else {
    team.exchange({}, {});
  }
}

}  // namespace

void gather_moments(AdamW& optimizer, Team& team,
                    const std::function<void(std::span<const float>)>& write) {
  std::vector<std::pair<FloatRange, int>> owned;  // every shard's ranges, ascending
  for (int r = 0; r < team.size(); ++r) {
    for (const FloatRange& range : optimizer.shards().of(r, team.size()))
      owned.emplace_back(range, r);
  }
  std::sort(owned.begin(), owned.end(),
            [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
  std::vector<float> buffer;
  for (const std::span<float> moment : {optimizer.first_moment(), optimizer.second_moment()}) {
    int64_t at = 0;
    // What is frozen lies between the shards' ranges and has none.
    const auto skip_to = [&](int64_t end) {
      if (!team.first()) return;
      for (; at < end; at += static_cast<int64_t>(buffer.size())) {
        buffer.assign(std::min(kPiece, end - at), 0.0f);
        write(buffer);
      }
    };
    for (const auto& [range, owner] : owned) {
      skip_to(range.begin);
      for (int64_t begin = range.begin; begin < range.end; begin += kPiece)
        fetch(moment, begin, std::min(begin + kPiece, range.end), owner, team, buffer, write);
      at = range.end;
    }
    skip_to(static_cast<int64_t>(moment.size()));
  }
}

}  // namespace zeroth
