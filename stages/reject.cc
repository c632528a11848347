#include "stages/reject.h"

#include <algorithm>

#include "rewards/shaping.h"

namespace zeroth {
Rejection::Rejection(const RejectConfig& config) : config_(config) {
  check_scripts(config.scripts, "scripts");
}

bool Rejection::passes(const Problem& problem, const Sample& sample) const {
  const int64_t tokens = drawn_tokens(sample);
  if (tokens < config_.min_length) return false;
  if (config_.max_length > 0 && tokens > config_.max_length) return false;
  if (config_.max_repetition < 1 &&
      repeated_ngrams(drawn_ids(sample), 4) > config_.max_repetition) {
    return false;
  }
  return config_.language_share <= 0 ||
         language_share(sample.text, problem.prompt, config_.scripts) >= config_.language_share;
}

void Rejection::add(const Group& group) {
  const auto [place, fresh] =
      index_.try_emplace({group.problem.task, group.problem.id}, problems_.size());
  if (fresh) {
    problems_.push_back({group.problem.task, group.problem.id, group.problem.prompt, {}, {}});
  }
  Found& found = problems_[place->second];
  for (const Sample& sample : group.samples) {
    ++samples_;
    const Verdict* accuracy = accuracy_verdict(sample);
    if (sample.finish != FinishReason::kStop) {
      ++cut_off_;
      continue;
    }
    if (accuracy == nullptr || !has_score(accuracy->reason) || sample.masked) {
      ++ungraded_;
      continue;
    }
    const bool right = accuracy->score >= config_.min_score;
    (right ? right_ : wrong_) += 1;
    // A wrong completion is an example of what not to do, whatever it looks like.
    if (right && !passes(group.problem, sample)) {
      ++filtered_;
      continue;
    }
    std::vector<Candidate>& list = right ? found.right : found.wrong;
    const auto same = [&](const Candidate& other) { return other.text == sample.text; };
    if (std::any_of(list.begin(), list.end(), same)) {
      ++repeated_;
      continue;
    }
    list.push_back({sample.text, drawn_tokens(sample)});
  }
}

std::vector<Rejection::Candidate> Rejection::chosen(const Found& found) const {
  std::vector<Candidate> right = found.right;
  if (config_.order == "shortest" || config_.pairs == "longer") {
    std::stable_sort(right.begin(), right.end(),
                     [](const Candidate& a, const Candidate& b) { return a.tokens < b.tokens; });
  }
  return right;
}

void Rejection::add_pairs(const Found& found, std::vector<Json>& rows) const {
  const std::vector<Candidate> right = chosen(found);
  if (right.empty()) return;
  std::vector<std::pair<Candidate, Candidate>> pairs;
  if (config_.pairs == "wrong") {
    const size_t n = std::min(right.size(), found.wrong.size());
    for (size_t i = 0; i < n; ++i) pairs.emplace_back(right[i], found.wrong[i]);
  } else {
    for (const Candidate& wrong : found.wrong) pairs.emplace_back(right.front(), wrong);
    for (const Candidate& other : right) {
      const auto least = config_.longer * static_cast<double>(right.front().tokens);
      if (static_cast<double>(other.tokens) >= least && other.text != right.front().text) {
        pairs.emplace_back(right.front(), other);
      }
    }
  }
  if (config_.per_problem > 0 && pairs.size() > static_cast<size_t>(config_.per_problem)) {
    pairs.resize(static_cast<size_t>(config_.per_problem));
  }
  for (const auto& [better, worse] : pairs) {
    rows.push_back({{"prompt", found.prompt},
                    {"chosen", better.text},
                    {"rejected", worse.text},
                    {"task", found.task},
                    {"problem", found.problem},
                    {"chosen_tokens", better.tokens},
                    {"rejected_tokens", worse.tokens}});
  }
}

std::vector<Json> Rejection::rows() const {
  std::vector<Json> rows;
  for (const Found& found : problems_) {
    if (config_.pairs != "none") {
      add_pairs(found, rows);
      continue;
    }
    std::vector<Candidate> right = chosen(found);
    if (config_.per_problem > 0 && right.size() > static_cast<size_t>(config_.per_problem)) {
      right.resize(static_cast<size_t>(config_.per_problem));
    }
    for (const Candidate& candidate : right) {
      rows.push_back({{"prompt", found.prompt},
                      {"completion", candidate.text},
                      {"task", found.task},
                      {"problem", found.problem},
                      {"tokens", candidate.tokens}});
    }
  }
  return rows;
}

Json Rejection::summary() const {
  const auto without = std::count_if(problems_.begin(), problems_.end(),
                                     [](const Found& found) { return found.right.empty(); });
  return {{"samples", samples_},
          {"right", right_},
          {"wrong", wrong_},
          {"cut_off", cut_off_},
          {"ungraded", ungraded_},
          {"filtered", filtered_},
          {"repeated", repeated_},
          {"problems", problems_.size()},
          {"problems_without_right", without},
          {"rows", rows().size()}};
}

}  // namespace zeroth
