#include "tasks/builtin/countdown.h"

#include <algorithm>
#include <set>

#include "rewards/expression.h"
#include "tasks/builtin/countdown_moves.h"
#include "tasks/builtin/countdown_rows.h"
#include "tasks/builtin/countdown_trace.h"
#include "tasks/rows.h"

namespace zeroth {
namespace {

// The table of all problems is built when there are at most this many multisets.
constexpr int64_t kMaxTable = 4096;
constexpr int64_t kDrawnSize = int64_t{1} << 31;  // problems are named by 32-bit numbers elsewhere

// Separate streams of the task seed.
enum Stream : uint32_t {
  kSetOrder = 1,
  kTargetOrder,
  kNumberOrder,
  kTrainDraw,
  kHeldOutDraw,
  kGoldDraw
};

int64_t multisets(int count, int max_number) {
  int64_t n = 1;  // C(max_number + count - 1, count), exact at every step
  for (int i = 1; i <= count; ++i) n = n * (max_number + i - 1) / i;
  return n;
}

template <class T>
void shuffle(std::vector<T>& items, Rng& rng) {
  for (size_t i = items.size(); i > 1; --i)
    std::swap(items[i - 1], items[rng.below(static_cast<uint32_t>(i))]);
}

// All ascending tuples of 1..max_number.
std::vector<std::vector<int>> ascending_tuples(int count, int max_number) {
  std::vector<std::vector<int>> tuples;
  std::vector<int> tuple(static_cast<size_t>(count), 1);
  for (;;) {
    tuples.push_back(tuple);
    int i = count - 1;
    while (i >= 0 && tuple[static_cast<size_t>(i)] == max_number) --i;
    if (i < 0) return tuples;
    const int next = tuple[static_cast<size_t>(i)] + 1;
    std::fill(tuple.begin() + i, tuple.end(), next);
  }
}

}  // namespace

CountdownTask::CountdownTask(CountdownOptions options) : options_(std::move(options)) {
  options_.render("");  // an unusable template is an error now, not in the middle of a run
  if (!options_.data.empty()) {
    read_data();
  } else if (!options_.held_out_data.empty()) {
    fail_usage("task countdown: held_out_data without data", "give data too, or neither");
  } else if (options_.count <= 4 && multisets(options_.count, options_.max_number) <= kMaxTable) {
    enumerate();
  } else {
    drawn_ = true;
  }
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    if (size(split) > 0) continue;
    fail_usage(std::string("task countdown: no ") +
                   (split == Split::kTrain ? "training" : "held-out") + " problems",
               "use a wider range of numbers, more data, or another held_out_every (" +
                   std::to_string(options_.held_out_every) + ")");
  }
}

CountdownTask::~CountdownTask() = default;

void CountdownTask::enumerate() {
  std::vector<std::vector<int>> sets = ascending_tuples(options_.count, options_.max_number);
  Rng order(options_.seed, kSetOrder);
  shuffle(sets, order);
  std::vector<std::vector<int>> targets;
  for (size_t i = 0; i < sets.size(); ++i) {
    targets.push_back(reachable_targets(sets[i], options_.max_value));
    Rng rng(StreamKey{options_.seed, kTargetOrder, static_cast<uint32_t>(i), 0});
    shuffle(targets.back(), rng);
  }
  Rng numbers_order(options_.seed, kNumberOrder);
  bool more = true;
  for (size_t round = 0; more; ++round) {
    more = false;
    for (size_t i = 0; i < sets.size(); ++i) {
      if (round >= targets[i].size()) continue;
      more = true;
      Instance instance{sets[i], targets[i][round]};
      shuffle(instance.numbers, numbers_order);
      instances_[is_held_out(multiset_key(sets[i]), options_.held_out_every)].push_back(
          std::move(instance));
    }
  }
}

void CountdownTask::read_data() {
  std::set<std::string> reserved;  // multisets of the held-out file
  size_t unsolvable = 0, repeated = 0, rows = 0;
  std::string first;
  const auto read = [&](const std::string& path, auto&& take) {
    for_each_row(path, [&](const Json& json, const std::string& place) {
      CountdownRow row = read_countdown_row(json, place);
      ++rows;
      // Five numbers take a millisecond each: only the first rows are tried.
      const bool tried = row.numbers.size() <= 4 || rows <= 2000;
      if (tried && !is_solvable(row.numbers, row.target)) {
        if (unsolvable++ == 0) first = place;
        return;
      }
      take(Instance{std::move(row.numbers), row.target});
    });
  };
  if (!options_.held_out_data.empty()) {
    read(options_.held_out_data, [&](Instance instance) {
      reserved.insert(multiset_key(instance.numbers));
      instances_[1].push_back(std::move(instance));
    });
  }
  read(options_.data, [&](Instance instance) {
    const std::string key = multiset_key(instance.numbers);
    if (options_.held_out_data.empty()) {
      instances_[is_held_out(key, options_.held_out_every)].push_back(std::move(instance));
    } else if (!reserved.contains(key)) {
      instances_[0].push_back(std::move(instance));
    } else {
      ++repeated;
    }
  });
  if (unsolvable > 0)
    notes_.push_back(
        std::to_string(unsolvable) + " of " + std::to_string(rows) +
        " rows left out because no expression reaches the target, the first: " + first);
  if (repeated > 0)
    notes_.push_back(std::to_string(repeated) +
                     " training rows left out because their numbers are held out");
}

CountdownTask::Instance CountdownTask::draw(Split split, int64_t index) const {
  const bool held_out = split == Split::kHeldOut;
  Rng rng(StreamKey{options_.seed, held_out ? kHeldOutDraw : kTrainDraw,
                    static_cast<uint32_t>(index), 0});
  for (int attempt = 0; attempt < 1000000; ++attempt) {
    Instance instance;
    for (int i = 0; i < options_.count; ++i) {
      instance.numbers.push_back(
          1 + static_cast<int>(rng.below(static_cast<uint32_t>(options_.max_number))));
    }
    if (is_held_out(multiset_key(instance.numbers), options_.held_out_every) != held_out) continue;
    if (options_.count <= 4) {
      const std::vector<int> targets = reachable_targets(instance.numbers, options_.max_value);
      if (targets.empty()) continue;
      instance.target = targets[rng.below(static_cast<uint32_t>(targets.size()))];
      return instance;
    }
    // Too many ways to list them: the target is the result of one random way.
    const CountdownTry way = random_countdown_try(instance.numbers, options_.max_value, 0, 0, rng);
    if (way.steps.empty()) continue;
    if (std::find(instance.numbers.begin(), instance.numbers.end(), way.value) !=
        instance.numbers.end())
      continue;
    instance.target = way.value;
    return instance;
  }
  fail("task countdown: no solvable problem found in a million draws",
       "max_value " + std::to_string(options_.max_value) + " is too small for numbers up to " +
           std::to_string(options_.max_number));
}

int64_t CountdownTask::size(Split split) const {
  if (drawn_) return kDrawnSize;
  return static_cast<int64_t>(instances_[split == Split::kHeldOut].size());
}

Problem CountdownTask::problem(Split split, int64_t index) const {
  if (index < 0 || index >= size(split)) {
    fail("task countdown: problem " + std::to_string(index) + " of " + std::to_string(size(split)));
  }
  const Instance instance = drawn_
                                ? draw(split, index)
                                : instances_[split == Split::kHeldOut][static_cast<size_t>(index)];
  std::string list;
  const bool compact = options_.question == "compact";
  for (const int number : instance.numbers) {
    list += (list.empty() ? "" : compact ? " " : ", ") + std::to_string(number);
  }
  const std::string target = std::to_string(instance.target);
  Problem problem;
  problem.task = name();
  problem.id = (split == Split::kHeldOut ? "held-out-" : "train-") + std::to_string(index);
  problem.prompt =
      options_.render(compact ? "Numbers " + list + " target " + target
                              : "Use each of the numbers " + list +
                                    " exactly once, with +, -, *, / and parentheses, to write an "
                                    "expression that equals " +
                                    target + ". Answer with the expression alone.");
  problem.answer = target;
  problem.meta = {{"nums", instance.numbers}, {"target", instance.target}};
  return problem;
}

std::vector<Verdict> CountdownTask::grade(const Problem& problem, std::string_view completion,
                                          FinishReason finish) const {
  const FormatRules rules = options_.format_rules();
  const auto numbers = problem.meta.at("nums").get<std::vector<int64_t>>();
  const auto target = problem.meta.at("target").get<int64_t>();
  const ResponseParts parts = split_response(completion, rules);

  Verdict accuracy;
  if (parts.reason == Reason::kNone) {
    accuracy = check_countdown(parts.answer, numbers, target);
  } else {
    accuracy.name = "accuracy";
    accuracy.reason = finish == FinishReason::kLength ? Reason::kTruncated : parts.reason;
    accuracy.info = {{"error", parts.why}};
  }
  accuracy.info.update(
      countdown_facts(parse_countdown_trace(parts.think, numbers), target, accuracy.score == 1));
  return options_.verdicts(std::move(accuracy), completion, finish);
}

std::string CountdownTask::cluster(const Problem& problem) const {
  return multiset_key(problem.meta.at("nums").get<std::vector<int>>());
}

std::string CountdownTask::gold_completion(const Problem& problem) const {
  const auto numbers = problem.meta.at("nums").get<std::vector<int>>();
  const int target = problem.meta.at("target").get<int>();
  if (numbers.size() <= 4) {
    for (const CountdownTry& t : all_countdown_tries(numbers, options_.max_value)) {
      if (t.value == target) return options_.wrap_answer(t.expression);
    }
    return {};
  }
  // Too many ways to list; a few thousand random ones find most targets.
  for (uint32_t i = 0; i < 3000; ++i) {
    Rng rng(StreamKey{options_.seed, kGoldDraw, i, 0});
    const CountdownTry way = random_countdown_try(numbers, options_.max_value, target, 1, rng);
    if (way.value == target) return options_.wrap_answer(way.expression);
  }
  return {};
}

}  // namespace zeroth
