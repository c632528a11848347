#include "rl/shared_scores.h"

#include <cstring>

#include "core/error.h"

namespace zeroth {
namespace {

void append(std::string& text, const std::vector<float>& values) {
  text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

void take(std::string_view& text, size_t count, std::vector<float>& values) {
  values.resize(count);
  if (count > 0) std::memcpy(values.data(), text.data(), count * sizeof(float));
  text.remove_prefix(count * sizeof(float));
}

}  // namespace

std::vector<std::string> gather_scores(Team& team, std::string_view what,
                                       std::span<const GroupSlice> leaves, LeafShare mine,
                                       const ScoresBySample& scores) {
  std::string text;
  for (const GroupSlice& leaf : leaves.subspan(mine.begin, mine.end - mine.begin)) {
    for (const int32_t sample : leaf.samples) {
      append(text, scores[leaf.group][sample].logprobs);
      append(text, scores[leaf.group][sample].entropies);
    }
  }
  return team.gather(what, text);
}

void take_scores(const Team& team, const std::vector<std::string>& texts,
                 std::span<const Group> groups, std::span<const GroupSlice> leaves,
                 const std::function<LeafShare(int rank)>& share, ScoresBySample& scores) {
  for (int r = 0; r < team.size(); ++r) {
    if (r == team.rank()) continue;
    const LeafShare theirs = share(r);
    std::string_view text = texts[r];
    for (size_t l = theirs.begin; l < theirs.end; ++l) {
      for (const int32_t sample : leaves[l].samples) {
        const size_t tokens = groups[leaves[l].group].samples[sample].tokens.size();
        if (text.size() < 2 * tokens * sizeof(float))
          fail("rank " + std::to_string(r) + " sent too few log-probs");
        SampleScores& to = scores[leaves[l].group][sample];
        take(text, tokens, to.logprobs);
        take(text, tokens, to.entropies);
      }
    }
    if (!text.empty()) fail("rank " + std::to_string(r) + " sent too many log-probs");
  }
}

}  // namespace zeroth
