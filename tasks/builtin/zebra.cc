#include "tasks/builtin/zebra.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>

#include "core/rng.h"

namespace zeroth {
namespace {

using Kind = ZebraClue::Kind;

constexpr int64_t kSize = int64_t{1} << 31;

struct Category {
  const char* name;
  const char* items[8];
};
constexpr Category kCategories[] = {
    {"colour", {"red", "green", "blue", "white", "yellow", "black", "brown", "grey"}},
    {"person", {"Ada", "Ben", "Cleo", "Dora", "Emil", "Fay", "Gus", "Hana"}},
    {"drink", {"tea", "milk", "water", "juice", "coffee", "cocoa", "cider", "soda"}},
    {"pet", {"zebra", "dog", "cat", "horse", "parrot", "snail", "fox", "goat"}},
    {"food", {"bread", "rice", "soup", "pasta", "salad", "cheese", "cake", "stew"}},
};
constexpr uint32_t kPool = 8;

void shuffle(std::vector<int>& items, Rng& rng) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[rng.below(static_cast<uint32_t>(i))]);
}

// A random clue that is true of the arrangement.
ZebraClue draw_clue(const ZebraGrid& grid, int houses, Rng& rng) {
  const auto categories = static_cast<uint32_t>(grid.size());
  for (;;) {
    ZebraClue clue;
    clue.kind = static_cast<Kind>(rng.below(6));
    clue.category1 = static_cast<int>(rng.below(categories));
    clue.item1 = static_cast<int>(rng.below(static_cast<uint32_t>(houses)));
    clue.category2 = static_cast<int>(rng.below(categories));
    clue.item2 = static_cast<int>(rng.below(static_cast<uint32_t>(houses)));
    if (clue.kind == Kind::kAt) {
      clue.house = grid[static_cast<size_t>(clue.category1)][static_cast<size_t>(clue.item1)];
      clue.category2 = clue.category1;
      clue.item2 = clue.item1;
      return clue;
    }
    const bool same_category = clue.category1 == clue.category2;
    if (same_category &&
        (clue.item1 == clue.item2 || clue.kind == Kind::kSame || clue.kind == Kind::kNotSame))
      continue;
    if (holds(clue, grid)) return clue;
  }
}

std::vector<std::vector<int>> permutations(int n) {
  std::vector<int> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::vector<std::vector<int>> all;
  do {
    all.push_back(order);
  } while (std::next_permutation(order.begin(), order.end()));
  return all;
}

// Assigns the categories one after another; as deep as there are categories.
void search(const std::vector<std::vector<ZebraClue>>& by_last,
            const std::vector<std::vector<int>>& orders, size_t category, ZebraGrid& grid,
            size_t limit, std::vector<ZebraGrid>& found) {
  if (category == by_last.size()) {
    found.push_back(grid);
    return;
  }
  for (const std::vector<int>& order : orders) {
    grid[category] = order;
    const bool fits = std::all_of(by_last[category].begin(), by_last[category].end(),
                                  [&](const ZebraClue& clue) { return holds(clue, grid); });
    if (fits) search(by_last, orders, category + 1, grid, limit, found);
    if (found.size() >= limit) return;
  }
}

// Items numbered in order of appearance, category by category: the puzzle without its words.
std::string signature(const std::vector<ZebraClue>& clues) {
  std::map<int, int> categories;
  std::map<std::pair<int, int>, int> items;
  const auto label = [&](int category, int item) {
    const int c = categories.emplace(category, static_cast<int>(categories.size())).first->second;
    const int i =
        items.emplace(std::pair{category, item}, static_cast<int>(items.size())).first->second;
    return std::to_string(c) + "." + std::to_string(i);
  };
  std::string key;
  for (const ZebraClue& clue : clues) {
    key += std::to_string(static_cast<int>(clue.kind)) + ":" + label(clue.category1, clue.item1);
    key += clue.kind == Kind::kAt ? "@" + std::to_string(clue.house)
                                  : "," + label(clue.category2, clue.item2);
    key += ";";
  }
  return key;
}

struct Puzzle {
  ZebraGrid grid;
  std::vector<ZebraClue> clues;
};

Puzzle make_puzzle(int houses, int categories, Rng& rng) {
  Puzzle puzzle;
  for (int c = 0; c < categories; ++c) {
    std::vector<int> order(static_cast<size_t>(houses));
    std::iota(order.begin(), order.end(), 0);
    shuffle(order, rng);
    puzzle.grid.push_back(order);
  }
  do {
    // In steps, since most clues are needed anyway and solving is what costs.
    for (int i = 0; i < 3; ++i) puzzle.clues.push_back(draw_clue(puzzle.grid, houses, rng));
  } while (solve_zebra(puzzle.clues, houses, categories, 2).size() != 1);
  for (size_t i = puzzle.clues.size(); i-- > 0;) {
    std::vector<ZebraClue> fewer = puzzle.clues;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(i));
    if (solve_zebra(fewer, houses, categories, 2).size() == 1) puzzle.clues = std::move(fewer);
  }
  return puzzle;
}

std::string said(const ZebraClue& clue, const std::vector<std::vector<std::string>>& names) {
  const std::string& a =
      names[static_cast<size_t>(clue.category1)][static_cast<size_t>(clue.item1)];
  const std::string& b =
      names[static_cast<size_t>(clue.category2)][static_cast<size_t>(clue.item2)];
  switch (clue.kind) {
    case Kind::kAt:
      return a + " is in house " + std::to_string(clue.house + 1) + ".";
    case Kind::kSame:
      return a + " and " + b + " are in the same house.";
    case Kind::kNotSame:
      return a + " and " + b + " are in different houses.";
    case Kind::kNextTo:
      return a + " and " + b + " are in neighbouring houses.";
    case Kind::kLeftNext:
      return a + " is directly left of " + b + ".";
    case Kind::kLeft:
      return a + " is somewhere left of " + b + ".";
  }
  return {};
}

bool word_byte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// Houses of the items as the answer states them; -1: not stated, or no house before it; -2: stated
// twice differently. Any word that such a list does not need makes all -1: the clues themselves are
// no answer.
ZebraGrid read_grid(std::string_view answer, const std::vector<std::vector<std::string>>& names,
                    int houses) {
  ZebraGrid none;
  for (const auto& category : names) none.emplace_back(category.size(), -1);
  ZebraGrid grid = none;
  int house = -1;
  for (size_t at = 0; at < answer.size();) {
    if (!word_byte(answer[at])) {
      ++at;
      continue;
    }
    size_t end = at;
    while (end < answer.size() && word_byte(answer[end])) ++end;
    std::string word(answer.substr(at, end - at));
    at = end;
    for (char& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    bool known = word == "house" || word == "and" || word == "has";
    if (word.size() == 1 && word[0] >= '1' && word[0] <= '0' + houses) {
      house = word[0] - '1';
      known = true;
    }
    for (size_t c = 0; c < names.size(); ++c) {
      for (size_t i = 0; i < names[c].size(); ++i) {
        std::string item = names[c][i];
        item[0] = static_cast<char>(item[0] | 0x20);
        if (word != item) continue;
        grid[c][i] = grid[c][i] == -1 || grid[c][i] == house ? house : -2;
        known = true;
      }
    }
    if (!known) return none;
  }
  return grid;
}

}  // namespace

bool holds(const ZebraClue& clue, const ZebraGrid& house_of) {
  const int a = house_of[static_cast<size_t>(clue.category1)][static_cast<size_t>(clue.item1)];
  const int b = house_of[static_cast<size_t>(clue.category2)][static_cast<size_t>(clue.item2)];
  switch (clue.kind) {
    case Kind::kAt:
      return a == clue.house;
    case Kind::kSame:
      return a == b;
    case Kind::kNotSame:
      return a != b;
    case Kind::kNextTo:
      return std::abs(a - b) == 1;
    case Kind::kLeftNext:
      return a + 1 == b;
    case Kind::kLeft:
      return a < b;
  }
  return false;
}

std::vector<ZebraGrid> solve_zebra(const std::vector<ZebraClue>& clues, int houses, int categories,
                                   size_t limit) {
  // A clue is looked at as soon as both of its categories are placed.
  std::vector<std::vector<ZebraClue>> by_last(static_cast<size_t>(categories));
  for (const ZebraClue& clue : clues) {
    by_last[static_cast<size_t>(std::max(clue.category1, clue.category2))].push_back(clue);
  }
  ZebraGrid grid(static_cast<size_t>(categories));
  std::vector<ZebraGrid> found;
  search(by_last, permutations(houses), 0, grid, limit, found);
  return found;
}

ZebraTask::ZebraTask(ZebraOptions options) : options_(std::move(options)) { options_.render(""); }

int64_t ZebraTask::size(Split) const { return kSize; }

Problem ZebraTask::problem(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  if (index < 0 || index >= kSize)
    fail("task zebra: problem " + std::to_string(index) + " does not exist");
  Rng rng(StreamKey{options_.seed, held_out ? 2u : 1u, static_cast<uint32_t>(index), 0});
  Puzzle puzzle;
  do {
    puzzle = make_puzzle(options_.houses, options_.categories, rng);
  } while (is_held_out(signature(puzzle.clues), options_.held_out_every) != held_out);

  std::vector<std::vector<std::string>> names;
  std::string question =
      "There are " + std::to_string(options_.houses) + " houses in a row, numbered from the left.";
  for (int c = 0; c < options_.categories; ++c) {
    const Category& category = kCategories[c];
    std::vector<int> pool(kPool);
    std::iota(pool.begin(), pool.end(), 0);
    shuffle(pool, rng);
    names.emplace_back();
    for (int i = 0; i < options_.houses; ++i)
      names.back().emplace_back(category.items[pool[static_cast<size_t>(i)]]);
    question += std::string(" Each has one ") + category.name + " of:";
    std::vector<std::string> listed = names.back();
    std::sort(listed.begin(), listed.end());
    for (const std::string& item : listed) question += (&item == &listed[0] ? " " : ", ") + item;
    question += ".";
  }
  for (const ZebraClue& clue : puzzle.clues) question += " " + said(clue, names);
  question += " What is in each house?";

  Problem problem;
  problem.task = name();
  problem.id = (held_out ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt = options_.render(question);
  for (int house = 0; house < options_.houses; ++house) {
    problem.answer += (house == 0 ? "" : "; ") + std::to_string(house + 1) + ":";
    for (size_t c = 0; c < names.size(); ++c) {
      const auto& row = puzzle.grid[c];
      const auto item = std::find(row.begin(), row.end(), house) - row.begin();
      problem.answer += (c == 0 ? " " : ", ") + names[c][static_cast<size_t>(item)];
    }
  }
  problem.meta = {{"names", names}, {"grid", puzzle.grid}};
  return problem;
}

std::vector<Verdict> ZebraTask::grade(const Problem& problem, std::string_view completion,
                                      FinishReason finish) const {
  const ResponseParts parts = split_response(completion, options_.format_rules());
  const auto names = problem.meta.at("names").get<std::vector<std::vector<std::string>>>();
  const auto truth = problem.meta.at("grid").get<ZebraGrid>();
  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.info = Json::object();
  double right = 0, cells = 0;
  for (const auto& row : truth) cells += static_cast<double>(row.size());
  if (parts.reason != Reason::kNone) {
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
  } else {
    const ZebraGrid stated = read_grid(parts.answer.substr(0, 65536), names, options_.houses);
    bool all_said = true;
    for (size_t c = 0; c < truth.size(); ++c) {
      for (size_t i = 0; i < truth[c].size(); ++i) {
        right += stated[c][i] == truth[c][i];
        all_said = all_said && stated[c][i] >= 0;
        accuracy.extracted += stated[c][i] < 0 ? '?' : static_cast<char>('1' + stated[c][i]);
      }
    }
    accuracy.score = right == cells ? 1 : 0;
    accuracy.reason = !all_said             ? Reason::kNoAnswer
                      : accuracy.score == 1 ? Reason::kCorrect
                                            : Reason::kWrong;
  }
  accuracy.info["cells_right"] = right / cells;
  return options_.verdicts(std::move(accuracy), completion, finish);
}

std::string ZebraTask::gold_completion(const Problem& problem) const {
  return options_.wrap_answer(problem.answer);
}

}  // namespace zeroth
