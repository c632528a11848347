#include "rl/same_inputs.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "core/sha256.h"
#include "rl/inputs.h"

namespace zeroth {

void check_same_weights(Team& team, const Policy& policy, const std::string& what) {
  FloatRanges shared = policy.own_masters();
  for (const FloatRanges& experts : policy.expert_masters()) shared = without(shared, experts);
  Sha256 hash;
  constexpr int64_t kPiece = int64_t{1} << 22;
  std::vector<float> values;
  for (const auto& [begin, end] : shared) {
    for (int64_t at = begin; at < end; at += kPiece) {
      values.resize(static_cast<size_t>(std::min(kPiece, end - at)));
      policy.read_masters(at, values);
      hash.update(values.data(), values.size() * sizeof(float));
    }
  }
  const auto all = team.gather("loaded " + what, hash.hex());
  for (int r = 1; r < team.size(); ++r) {
    if (all[r] == all[0]) continue;
    fail("rank " + std::to_string(r) + " has loaded other " + what + " than rank 0",
         "the model and the run's folder are to be the same files on all machines");
  }
}

void check_same_inputs(Team& team, const Json& inputs) {
  const auto all = team.gather("files that are read", inputs.dump());
  for (int r = 1; r < team.size(); ++r) {
    if (all[r] == all[0]) continue;
    std::string names;
    for (const std::string& line :
         changed_inputs(parse_json(all[0], "rank 0's files"), parse_json(all[r], "a rank's files")))
      names += (names.empty() ? "" : ", ") + line.substr(0, line.find(": "));
    fail("rank " + std::to_string(r) + " reads other files than rank 0: " + names,
         "what the task and the tokenizer are read from is to be the same on all machines");
  }
}

}  // namespace zeroth
