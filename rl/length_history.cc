#include "rl/length_history.h"

#include <algorithm>

namespace zeroth {

LengthHistory::LengthHistory(int64_t problems)
    : tokens_(problems > 0 && problems <= kMost ? static_cast<size_t>(problems) : 0) {}

double LengthHistory::expected(int64_t problem) const {
  return problem < static_cast<int64_t>(tokens_.size()) ? tokens_[problem] : 0;
}

void LengthHistory::note(int64_t problem, const std::vector<Sample>& samples) {
  if (problem >= static_cast<int64_t>(tokens_.size())) return;
  double sum = 0, count = 0;
  for (const Sample& sample : samples) {
    if (sample.finish == FinishReason::kAborted) continue;
    sum += static_cast<double>(drawn_tokens(sample));
    ++count;
  }
  if (count > 0) tokens_[problem] = static_cast<float>(sum / count);
}

Json LengthHistory::state() const {
  Json problems = Json::array(), tokens = Json::array();
  for (size_t i = 0; i < tokens_.size(); ++i) {
    if (tokens_[i] == 0) continue;
    problems.push_back(i);
    tokens.push_back(tokens_[i]);
  }
  if (problems.empty()) return nullptr;
  return {{"problems", std::move(problems)}, {"tokens", std::move(tokens)}};
}

void LengthHistory::restore(const Json& state) {
  std::fill(tokens_.begin(), tokens_.end(), 0.0f);
  if (state.is_null()) return;
  const Json &problems = state.at("problems"), &tokens = state.at("tokens");
  for (size_t i = 0; i < problems.size(); ++i) {
    const auto problem = problems.at(i).get<uint64_t>();
    if (problem < tokens_.size()) tokens_[problem] = tokens.at(i).get<float>();
  }
}

}  // namespace zeroth
