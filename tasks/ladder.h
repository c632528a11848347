// A ladder: checkpoints that were evaluated on the same problems, rated against each other, so that
// each new one is measured by fixed opponents (the base, each stage) and not by a moving reward.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "tasks/evaluation.h"

namespace zeroth {

// Scores in [0, 1] of a checkpoint's samples that could be graded, by problem. No list is empty.
struct LadderEntry {
  std::string name;
  std::map<std::string, std::vector<double>> scores;
};

// One checkpoint against another. A sample of each for one problem is a game: the higher score wins.
struct LadderPair {
  double wins = 0, ties = 0, losses = 0;  // mean over problems of the shares of all pairs; sum 1
};

struct LadderRow {
  std::string name;
  double accuracy = 0;              // mean over problems of the share of scores of 1 or more
  double elo = 0;                   // 400 log10 of the strength over that of the first checkpoint
  Interval elo95 = {0, 0};          // bootstrap over problems
  std::vector<LadderPair> against;  // every checkpoint, itself included (all ties)
};

struct Ladder {
  int64_t problems = 0;  // that all entries have; others do not count
  std::vector<LadderRow> rows;
};

// Rates two or more entries. Strengths are the maximum of the Bradley-Terry likelihood over all pairs
// (Hunter, Annals of Statistics 2004, the MM algorithm of section 3), a problem counts as one game
// between any two, and a tie as half a win of each; one tied game more between any two keeps a
// checkpoint that always wins finite. `resamples` draws of the problems with replacement, by `seed`,
// give the interval. Throws Error for fewer than two entries, two of one name, and no common problem.
Ladder make_ladder(std::span<const LadderEntry> entries, int resamples = 400, uint64_t seed = 0);

}  // namespace zeroth
