#include "tasks/ladder.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "core/error.h"
#include "core/rng.h"

namespace zeroth {
namespace {

// [entries][entries]: points of the first against the second, summed over games.
using Points = std::vector<std::vector<double>>;

LadderPair play(const std::vector<double>& ours, const std::vector<double>& theirs) {
  LadderPair pair;
  for (const double a : ours) {
    for (const double b : theirs) {
      pair.wins += a > b;
      pair.ties += a == b;
      pair.losses += a < b;
    }
  }
  const double games = static_cast<double>(ours.size()) * static_cast<double>(theirs.size());
  return {pair.wins / games, pair.ties / games, pair.losses / games};
}

// Elo of every entry against the first. `games` of any two, the added one not among them.
std::vector<double> ratings(Points points, double games) {
  const size_t n = points.size();
  for (auto& row : points) {
    for (double& value : row) value += 0.5;
  }
  games += 1;
  std::vector<double> strength(n, 1);
  for (int round = 0; round < 10000; ++round) {
    double moved = 0;
    for (size_t i = 0; i < n; ++i) {
      double won = 0, met = 0;
      for (size_t j = 0; j < n; ++j) {
        if (j == i) continue;
        won += points[i][j];
        met += games / (strength[i] + strength[j]);
      }
      const double next = won / met;
      moved = std::max(moved, std::abs(std::log(next / strength[i])));
      strength[i] = next;
    }
    if (moved < 1e-9) break;
  }
  std::vector<double> elo;
  elo.reserve(n);
  for (const double s : strength) elo.push_back(400 * std::log10(s / strength[0]));
  return elo;
}

std::vector<std::string> common_problems(std::span<const LadderEntry> entries) {
  std::vector<std::string> common;
  for (const auto& one : entries[0].scores) {
    const std::string& problem = one.first;
    if (std::all_of(entries.begin(), entries.end(),
                    [&](const LadderEntry& entry) { return entry.scores.contains(problem); }))
      common.push_back(problem);
  }
  return common;
}

void check(std::span<const LadderEntry> entries) {
  if (entries.size() < 2)
    fail_usage("a ladder of " + std::to_string(entries.size()) + " checkpoints",
               "give two or more: the base, and what came of it");
  std::set<std::string> names;
  for (const LadderEntry& entry : entries) {
    if (!names.insert(entry.name).second)
      fail_usage("two checkpoints of the ladder are named \"" + entry.name + "\"",
                 "give each a name of its own: NAME=FILE");
  }
}

// Games of all pairs, problem by problem.
class Games {
 public:
  Games(std::span<const LadderEntry> entries, std::span<const std::string> problems)
      : entries_(entries.size()) {
    for (const std::string& problem : problems) {
      for (const LadderEntry& ours : entries) {
        for (const LadderEntry& theirs : entries)
          pairs_.push_back(play(ours.scores.at(problem), theirs.scores.at(problem)));
      }
    }
  }
  const LadderPair& pair(size_t problem, size_t i, size_t j) const {
    return pairs_[(problem * entries_ + i) * entries_ + j];
  }
  void add(size_t problem, Points& points) const {
    for (size_t i = 0; i < entries_; ++i) {
      for (size_t j = 0; j < entries_; ++j) {
        const LadderPair& p = pair(problem, i, j);
        points[i][j] += p.wins + p.ties / 2;
      }
    }
  }

 private:
  size_t entries_;
  std::vector<LadderPair> pairs_;
};

double accuracy(const LadderEntry& entry, std::span<const std::string> problems) {
  double sum = 0;
  for (const std::string& problem : problems) {
    const std::vector<double>& scores = entry.scores.at(problem);
    const auto right = std::count_if(scores.begin(), scores.end(), [](double s) { return s >= 1; });
    sum += static_cast<double>(right) / static_cast<double>(scores.size());
  }
  return sum / static_cast<double>(problems.size());
}

Interval middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const auto at = [&](double share) {
    return values[static_cast<size_t>(std::lround(share * static_cast<double>(values.size() - 1)))];
  };
  return {at(0.025), at(0.975)};
}

}  // namespace

Ladder make_ladder(std::span<const LadderEntry> entries, int resamples, uint64_t seed) {
  check(entries);
  const std::vector<std::string> problems = common_problems(entries);
  if (problems.empty())
    fail("the checkpoints of the ladder have no problem in common",
         "evaluate all with one task, one seed and one --n");
  const size_t n = entries.size(), count = problems.size();
  const Games games(entries, problems);
  const Points none(n, std::vector<double>(n, 0));

  Points points = none;
  for (size_t p = 0; p < count; ++p) games.add(p, points);
  const std::vector<double> elo = ratings(points, static_cast<double>(count));
  std::vector<std::vector<double>> drawn(n);
  Rng rng(seed, 0);
  for (int r = 0; r < resamples; ++r) {
    Points again = none;
    for (size_t p = 0; p < count; ++p) games.add(rng.below(static_cast<uint32_t>(count)), again);
    const std::vector<double> of = ratings(again, static_cast<double>(count));
    for (size_t i = 0; i < n; ++i) drawn[i].push_back(of[i]);
  }

  Ladder ladder;
  ladder.problems = static_cast<int64_t>(count);
  for (size_t i = 0; i < n; ++i) {
    LadderRow row{entries[i].name, accuracy(entries[i], problems), elo[i], {elo[i], elo[i]}, {}};
    if (resamples > 0) row.elo95 = middle(drawn[i]);
    for (size_t j = 0; j < n; ++j) {
      LadderPair sum;
      for (size_t p = 0; p < count; ++p) {
        sum.wins += games.pair(p, i, j).wins;
        sum.ties += games.pair(p, i, j).ties;
        sum.losses += games.pair(p, i, j).losses;
      }
      const auto of = static_cast<double>(count);
      row.against.push_back({sum.wins / of, sum.ties / of, sum.losses / of});
    }
    ladder.rows.push_back(std::move(row));
  }
  return ladder;
}

}  // namespace zeroth
