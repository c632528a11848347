#include "rollout/draft_index.h"

#include <algorithm>

namespace zeroth {
namespace {

constexpr int kLongestAgreement = 24;
constexpr int kMostPlaces = 12;  // looked at for one guess
constexpr int kForget = 256;     // tries behind which older ones count half

uint64_t hash_of(const TokenId* tokens, int n) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (int i = 0; i < n; ++i) {
    hash = (hash ^ static_cast<uint32_t>(tokens[i])) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
  }
  return hash;
}

int kind_of(int agree, int votes, int all, int candidates) {
  const int length = agree < 4 ? 0 : agree < 6 ? 1 : agree < 10 ? 2 : agree < 16 ? 3 : 4;
  const int share = candidates == 1        ? 0
                    : 2 * votes < all      ? 1
                    : 10 * votes < 8 * all ? 2
                    : votes < all          ? 3
                                           : 4;
  return 5 * length + share;
}

}  // namespace

DraftIndex::DraftIndex(std::span<const TokenId> prompt) {
  texts_.emplace_back();
  append(0, prompt);
}

int DraftIndex::add(std::span<const TokenId> tokens) {
  const std::vector<TokenId>& prompt = texts_.front().tokens;
  Text text;
  text.context = std::min<size_t>(prompt.size(), kFoundBy[0]);
  text.tokens.assign(prompt.end() - static_cast<std::ptrdiff_t>(text.context), prompt.end());
  for (auto& before : text.before) before.resize(text.context);
  texts_.push_back(std::move(text));
  append(static_cast<int>(texts_.size()) - 1, tokens);
  return static_cast<int>(texts_.size()) - 1;
}

void DraftIndex::append(int number, std::span<const TokenId> tokens) {
  Text& text = texts_[number];
  tokens_ += static_cast<int64_t>(tokens.size());
  for (const TokenId token : tokens) {
    const size_t at = text.tokens.size();
    text.tokens.push_back(token);
    for (size_t i = 0; i < kFoundBy.size(); ++i) {
      Place before;
      if (at >= static_cast<size_t>(kFoundBy[i])) {
        Place& last = last_[i][hash_of(&text.tokens[at - kFoundBy[i]], kFoundBy[i])];
        before = last;
        last = {number, static_cast<int32_t>(at)};
      }
      text.before[i].push_back(before);
    }
  }
}

int DraftIndex::agreement(const Text& a, size_t a_end, const Text& b, size_t b_end) const {
  const size_t most = std::min<size_t>({a_end, b_end, kLongestAgreement});
  size_t n = 0;
  while (n < most && a.tokens[a_end - 1 - n] == b.tokens[b_end - 1 - n]) ++n;
  return static_cast<int>(n);
}

void DraftIndex::find(const Text& text, std::vector<Candidate>& out) const {
  out.clear();
  const size_t end = text.tokens.size();
  for (size_t i = 0; i < kFoundBy.size() && out.empty(); ++i) {
    const int n = kFoundBy[i];
    if (end < static_cast<size_t>(n)) continue;
    const auto found = last_[i].find(hash_of(&text.tokens[end - n], n));
    if (found == last_[i].end()) continue;
    Place place = found->second;
    for (int steps = 0; place.text >= 0 && steps < kMostPlaces; ++steps) {
      const Text& other = texts_[place.text];
      const auto at = static_cast<size_t>(place.at);
      const int agree = agreement(text, end, other, at);
      if (agree >= n) out.push_back({&other, at, agree});  // else another hash of the same value
      place = other.before[i][at];
    }
  }
}

void DraftIndex::guess(int number, int most, const DraftOdds& odds, double least_odds,
                       std::vector<DraftGuess>& out) const {
  out.clear();
  double all_right = 1;
  std::vector<Candidate>& candidates = candidates_;
  find(texts_[number], candidates);
  for (int n = 0; n < most && !candidates.empty() && all_right >= least_odds; ++n) {
    // The token with most votes, a vote weighing as many tokens as agree before it; of equal ones
    // that of the most recent place.
    int best = 0, all = 0;
    TokenId token = 0;
    for (const Candidate& c : candidates) {
      all += c.agree;
      const TokenId here = c.text->tokens[c.at];
      int votes = 0;
      for (const Candidate& other : candidates)
        if (other.text->tokens[other.at] == here) votes += other.agree;
      if (votes > best) {
        best = votes;
        token = here;
      }
    }
    int agree = 0;
    for (const Candidate& c : candidates) agree = std::max(agree, c.agree);
    out.push_back({token, kind_of(agree, best, all, static_cast<int>(candidates.size()))});
    all_right *= odds.odds(out.back().kind);
    std::erase_if(candidates, [&](Candidate& c) {
      if (c.text->tokens[c.at] != token) return true;
      ++c.agree;
      return ++c.at == c.text->tokens.size();
    });
  }
}

void DraftOdds::score(int kind, bool right) {
  right_[kind] += right;
  if (++tries_[kind] < kForget) return;
  right_[kind] /= 2;
  tries_[kind] /= 2;
}

}  // namespace zeroth
