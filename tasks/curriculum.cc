#include "tasks/curriculum.h"

#include <algorithm>

namespace zeroth {
namespace {

constexpr int kAttempts = 64;  // to find a problem that this step has not drawn yet
constexpr int64_t kMaxUniform = int64_t{1} << 31;

}  // namespace

ProblemSampler::ProblemSampler(const CurriculumConfig& config, uint64_t seed, int64_t size,
                               int levels)
    : config_(config), seed_(seed), size_(std::min(size, kMaxUniform)), levels_(levels) {
  if (config_.floor > config_.ceiling) {
    fail_usage("curriculum: floor " + std::to_string(config_.floor) + " is above ceiling " +
                   std::to_string(config_.ceiling),
               "choose floor <= ceiling");
  }
  if (config_.retreat_at >= config_.advance_at) {
    fail_usage("curriculum: retreat_at is not below advance_at", "choose retreat_at < advance_at");
  }
  if (config_.mode == "levels" && levels_ < 2) {
    fail_usage("curriculum: mode levels, but the task has one level",
               "use the task mixture with levels=true, or another mode");
  }
  if (size_ < levels_)
    fail("curriculum: " + std::to_string(size_) + " problems are too few",
         "give the task more data");
  if (config_.mode == "prioritised") {
    size_ = std::min(size_, config_.pool);
    leaves_ = 1;
    while (leaves_ < size_) leaves_ *= 2;
    tree_.assign(static_cast<size_t>(2 * leaves_), 0.0);
    for (int64_t i = 0; i < size_; ++i) tree_[static_cast<size_t>(leaves_ + i)] = config_.ceiling;
    for (int64_t i = leaves_ - 1; i >= 1; --i) {
      const auto at = static_cast<size_t>(i);
      tree_[at] = tree_[2 * at] + tree_[2 * at + 1];
    }
  }
}

double ProblemSampler::success_rate(int64_t index) const {
  const auto it = seen_.find(index);
  return it == seen_.end() ? -1 : it->second.successes / it->second.attempts;
}

double ProblemSampler::weight(int64_t index) const {
  const double rate = success_rate(index);
  return rate < 0 ? config_.ceiling : std::clamp(1 - rate, config_.floor, config_.ceiling);
}

// Sums are made anew from the leaf up, never updated by differences: rounding cannot drift, and a
// restored sampler has the same tree.
void ProblemSampler::set_weight(int64_t index, double weight) {
  auto at = static_cast<size_t>(leaves_ + index);
  tree_[at] = weight;
  for (at /= 2; at >= 1; at /= 2) tree_[at] = tree_[2 * at] + tree_[2 * at + 1];
}

int64_t ProblemSampler::find_weight(double target) const {
  size_t at = 1;
  while (at < static_cast<size_t>(leaves_)) {
    at *= 2;
    if (target >= tree_[at] && tree_[at + 1] > 0) {
      target -= tree_[at];
      ++at;
    }
  }
  return std::min<int64_t>(static_cast<int64_t>(at) - leaves_, size_ - 1);
}

int64_t ProblemSampler::draw_once() {
  constexpr uint32_t kDraws = 0xcc;
  Rng rng(
      StreamKey{seed_, kDraws, static_cast<uint32_t>(draws_), static_cast<uint32_t>(draws_ >> 32)});
  ++draws_;
  if (config_.mode == "prioritised") return find_weight(rng.uniform() * tree_[1]);
  if (config_.mode == "levels") {
    int level = level_;
    if (level_ > 0 && rng.chance(config_.review))
      level = static_cast<int>(rng.below(static_cast<uint32_t>(level_)));
    const int64_t of_level = (size_ - level + levels_ - 1) / levels_;
    return level + levels_ * static_cast<int64_t>(rng.below(static_cast<uint32_t>(of_level)));
  }
  return rng.below(static_cast<uint32_t>(size_));
}

int64_t ProblemSampler::draw(const std::vector<int64_t>& taken) {
  int64_t index = draw_once();
  for (int i = 0; i < kAttempts && std::find(taken.begin(), taken.end(), index) != taken.end();
       ++i) {
    index = draw_once();
  }
  return index;
}

void ProblemSampler::record(int64_t index, double successes, int attempts) {
  if (attempts < 1) return;
  if (config_.mode == "prioritised") {
    Seen& seen = seen_[index];
    seen.attempts = seen.attempts * (1 - config_.forget) + attempts;
    seen.successes = seen.successes * (1 - config_.forget) + successes;
    set_weight(index, weight(index));
  }
  if (config_.mode == "levels" && index % levels_ == level_) {
    level_successes_ += successes;
    level_attempts_ += attempts;
    if (level_attempts_ < config_.window) return;
    const double rate = level_successes_ / static_cast<double>(level_attempts_);
    if (rate >= config_.advance_at && level_ + 1 < levels_)
      ++level_;
    else if (rate <= config_.retreat_at && level_ > 0)
      --level_;
    level_successes_ = 0;
    level_attempts_ = 0;
  }
}

Json ProblemSampler::state() const {
  Json problems = Json::array();
  for (const auto& [index, seen] : seen_)
    problems.push_back({index, seen.attempts, seen.successes});
  return {{"mode", config_.mode},
          {"size", size_},
          {"levels", levels_},
          {"draws", draws_},
          {"level", level_},
          {"level_successes", level_successes_},
          {"level_attempts", level_attempts_},
          {"problems", problems}};
}

void ProblemSampler::restore(const Json& state) {
  try {
    if (state.at("mode") != config_.mode || state.at("size") != size_ ||
        state.at("levels") != levels_) {
      fail("the saved curriculum is of another mode, task or pool",
           "resume with the options that the run was started with");
    }
    seen_.clear();
    for (const Json& row : state.at("problems")) {
      const auto index = row.at(0).get<int64_t>();
      const Seen seen{row.at(1).get<double>(), row.at(2).get<double>()};
      if (index < 0 || index >= size_ || !(seen.attempts > 0))
        fail("the saved curriculum names problem " + row.dump());
      seen_[index] = seen;
      if (config_.mode == "prioritised") set_weight(index, weight(index));
    }
    draws_ = state.at("draws").get<uint64_t>();
    level_ = state.at("level").get<int>();
    if (level_ < 0 || level_ >= levels_)
      fail("the saved curriculum is at level " + std::to_string(level_));
    level_successes_ = state.at("level_successes").get<double>();
    level_attempts_ = state.at("level_attempts").get<int64_t>();
  } catch (const Json::exception& error) {
    fail(std::string("the saved curriculum is malformed: ") + error.what(),
         "resume from an older checkpoint");
  }
}

}  // namespace zeroth
