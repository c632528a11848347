#include "rollout/drafter.h"

#include <algorithm>

namespace zeroth {
namespace {

// Microseconds of a decode step of so many rows on a plain machine of two cores, as docs/results.md
// has them: some work whatever the model, weights from memory but for what the nearest caches hold,
// and arithmetic.
double step_cost(const Roofline& costs, int rows) {
  constexpr double kContext = 256;
  const double read = std::max(0.0, costs.decode_bytes(rows, kContext) - 2e6) / 25e3;
  return 20 + read + rows * (15 + costs.forward_flops(kContext) / 140e3);
}

// The chance that a token is kept at which its row pays in a step of `live` sequences: it costs what
// makes a step longer, and saves one of the `live` tokens that a step is worth. What is as good as
// certain is tried whatever the model: small ones win little by it and lose nothing.
double least_odds(const Roofline& costs, int live) {
  constexpr double kCertain = 0.9;
  const double cost = step_cost(costs, live);
  return std::min(kCertain, live * (step_cost(costs, live + 1) - cost) / cost);
}

constexpr int64_t kSampleBytes = 64;  // beside its tokens
constexpr int kRests = 3;             // steps behind one that had no guess worth its row

uint64_t hash_of(std::span<const TokenId> tokens) {
  uint64_t hash = 0x84222325cbf29ce4u + tokens.size();
  for (const TokenId token : tokens) {
    hash = (hash ^ static_cast<uint32_t>(token)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  return hash;
}

int64_t bytes_of(size_t tokens) {
  return static_cast<int64_t>(tokens * sizeof(TokenId)) + kSampleBytes;
}

}  // namespace

// Two prompts of one hash would share their samples: worse guesses, no harm.
void DraftHistory::add(std::span<const TokenId> prompt, std::span<const TokenId> tokens) {
  if (tokens.empty() || bytes_of(tokens.size()) > max_bytes_) return;
  const uint64_t key = hash_of(prompt);
  const auto found = by_prompt_.find(key);
  if (found != by_prompt_.end()) {
    entries_.splice(entries_.end(), entries_, found->second);
  } else {
    by_prompt_[key] = entries_.insert(entries_.end(), {key, 0, {}});
  }
  Entry& entry = entries_.back();
  entry.samples.emplace_back(tokens.begin(), tokens.end());
  entry.tokens += static_cast<int64_t>(tokens.size());
  bytes_ += bytes_of(tokens.size());
  while (entry.tokens > kTokensOfPrompt && entry.samples.size() > 1) drop_oldest(entry);
  while (bytes_ > max_bytes_) {
    Entry& oldest = entries_.front();
    drop_oldest(oldest);
    if (!oldest.samples.empty()) continue;
    by_prompt_.erase(oldest.key);
    entries_.pop_front();
  }
}

void DraftHistory::drop_oldest(Entry& entry) {
  const size_t tokens = entry.samples.front().size();
  entry.tokens -= static_cast<int64_t>(tokens);
  bytes_ -= bytes_of(tokens);
  entry.samples.pop_front();
}

const std::deque<std::vector<TokenId>>* DraftHistory::of(std::span<const TokenId> prompt) {
  const auto found = by_prompt_.find(hash_of(prompt));
  if (found == by_prompt_.end()) return nullptr;
  entries_.splice(entries_.end(), entries_, found->second);
  return &found->second->samples;
}

Drafter::Drafter(const EngineConfig& config, const Roofline& costs)
    : longest_(config.draft_tokens),
      rows_(config.draft_batch),
      history_(int64_t{config.draft_mb} << 20) {
  for (int live = 0; live < rows_; ++live) least_odds_.push_back(least_odds(costs, live));
}

void Drafter::begin() {
  resting_ = false;
  indices_.clear();
  lines_.clear();
  suggested_.clear();
}

// A request's index is made when the first of its sequences is considered: while the batch is large
// nothing is.
DraftIndex& Drafter::index_of(const Live& live) {
  std::unique_ptr<DraftIndex>& index = indices_[live.request];
  if (index) return *index;
  index = std::make_unique<DraftIndex>(live.prompt);
  if (const auto* samples = history_.of(live.prompt))
    for (const std::vector<TokenId>& tokens : *samples) index->add(tokens);
  return *index;
}

// Takes the tokens in that were drawn since, and sees which guesses were right.
Drafter::Line& Drafter::catch_up(const Live& live, DraftIndex& index) {
  Line& line = lines_[live.sequence];
  const std::span<const TokenId> fresh = live.tokens.subspan(line.known);
  for (size_t i = 0; i < std::min(fresh.size(), line.guesses.size()); ++i) {
    const bool right = line.guesses[i].token == fresh[i];
    odds_.score(line.guesses[i].kind, right);
    if (!right) break;
  }
  line.guesses.clear();
  line.known = live.tokens.size();
  if (line.text < 0) {
    line.text = index.add(fresh);
  } else {
    index.append(line.text, fresh);
  }
  return line;
}

void Drafter::consider(const Live& live, int running) {
  const auto known = lines_.find(live.sequence);
  const auto suggested = suggested_.find(live.sequence);
  const bool told = suggested != suggested_.end();
  if (!told && known != lines_.end() && known->second.rests > 0) {
    --known->second.rests;
    return;
  }
  DraftIndex& index = index_of(live);
  Line& line = catch_up(live, index);
  const double least = least_odds_[running];
  index.guess(line.text, std::min(live.room, longest_), odds_, least, line.guesses);
  // The layer tells one token; where the texts tell the same they may tell more.
  if (told) {
    const TokenId token = suggested->second;
    const bool better =
        line.guesses.empty() || (line.guesses[0].token != token &&
                                 odds_.odds(kLayerKind) > odds_.odds(line.guesses[0].kind));
    if (better) line.guesses.assign(1, {token, kLayerKind});
  }
  const size_t before = tokens_.size();
  double odds = 1;
  for (const DraftGuess& guess : line.guesses) {
    odds *= odds_.odds(guess.kind);
    if (odds < least) break;
    tokens_.push_back({odds, considered_.size(), guess.token});
  }
  if (tokens_.size() == before && !told) line.rests = kRests;
  considered_.push_back(live.sequence);
}

const std::vector<Drafter::Draft>& Drafter::choose(int running) {
  drafts_.clear();
  for (const int sequence : considered_) drafts_.push_back({sequence, {}});
  // A token is never likelier than those before it in its draft, so each draft keeps a beginning.
  std::stable_sort(tokens_.begin(), tokens_.end(),
                   [](const Token& a, const Token& b) { return a.odds > b.odds; });
  const auto rows = static_cast<size_t>(std::max(0, rows_ - running));
  for (size_t i = 0; i < std::min(rows, tokens_.size()); ++i)
    drafts_[tokens_[i].draft].tokens.push_back(tokens_[i].token);
  std::erase_if(drafts_, [](const Draft& draft) { return draft.tokens.empty(); });
  tokens_.clear();
  considered_.clear();
  suggested_.clear();
  return drafts_;
}

void Drafter::end(const Live& live, bool last) {
  if (longest_ == 0) return;
  history_.add(live.prompt, live.tokens);
  const auto index = indices_.find(live.request);
  if (index == indices_.end()) return;
  // What follows it in the index: all its tokens, for those that go on.
  if (!last) catch_up(live, *index->second);
  lines_.erase(live.sequence);
  if (last) indices_.erase(index);
}

}  // namespace zeroth
