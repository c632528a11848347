// Zebra puzzles: houses in a row, one item of every category in each, clues that leave one
// arrangement.
#pragma once

#include <string>
#include <vector>

#include "tasks/options.h"
#include "tasks/task.h"

namespace zeroth {

// A statement about one or two items; an item is (category, number).
struct ZebraClue {
  enum class Kind {
    kAt,        // item 1 is in house `house`
    kSame,      // both items are in the same house
    kNotSame,   // they are not
    kNextTo,    // they are in neighbouring houses
    kLeftNext,  // item 1 is directly left of item 2
    kLeft       // item 1 is somewhere left of item 2
  };
  Kind kind = Kind::kAt;
  int category1 = 0, item1 = 0, category2 = 0, item2 = 0, house = 0;
};

// house_of[category][item], houses from 0.
using ZebraGrid = std::vector<std::vector<int>>;

bool holds(const ZebraClue& clue, const ZebraGrid& house_of);

// Arrangements that all clues allow, at most `limit` of them.
std::vector<ZebraGrid> solve_zebra(const std::vector<ZebraClue>& clues, int houses, int categories,
                                   size_t limit);

struct ZebraOptions : ResponseOptions {
  int houses = 3;
  int categories = 3;
  int held_out_every = 8;
  uint64_t seed = 0;
  template <class V>
  void fields(V& v) {
    v("houses", houses, "houses in the row", Range{2, 5});
    v("categories", categories, "kinds of items", Range{2, 5});
    v("held_out_every", held_out_every, "one puzzle in this many is held out, by its hash",
      Range{2, 1000000});
    v("seed", seed, "which puzzles are made");
    ResponseOptions::fields(v);
  }
};

// Exactly one arrangement fits, and no clue can be left out. The split goes by the clues with items
// numbered in order of appearance. The answer block must list every house: "1: red, Ada, tea; 2:
// ..", items in any order, houses in any order. Fact cells_right: share of the items that are in
// the right house.
class ZebraTask : public Task {
 public:
  explicit ZebraTask(ZebraOptions options);
  std::string name() const override { return "zebra"; }
  int64_t size(Split split) const override;
  Problem problem(Split split, int64_t index) const override;
  bool is_chat(const Problem&) const override { return options_.is_chat(); }
  std::vector<Verdict> grade(const Problem& problem, std::string_view completion,
                             FinishReason finish) const override;
  std::string gold_completion(const Problem& problem) const override;
  std::vector<std::string> stop_strings() const override { return options_.stop_strings(); }

 private:
  ZebraOptions options_;
};

}  // namespace zeroth
