#include "rewards/math/same_cases.h"

#include <algorithm>

namespace zeroth::math {

namespace {

bool is_otherwise(const Pool& pool, Ref condition) {
  return pool.is(condition, Op::kText) && pool.name(condition) == "otherwise";
}

// A condition without the words that introduce it.
std::string bare_condition(std::string words) {
  for (std::string_view word : {"if", "when", "for", "is"}) {
    for (size_t at = words.find(word); at != std::string::npos; at = words.find(word, at))
      words.erase(at, word.size());
  }
  return words;
}

bool same_condition(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  if (is_otherwise(pool, gold) || is_otherwise(pool, pred))
    return is_otherwise(pool, gold) && is_otherwise(pool, pred);
  if (pool.is(gold, Op::kText) && pool.is(pred, Op::kText))
    return bare_condition(pool.name(gold)) == bare_condition(pool.name(pred));
  return comparer.compare(gold, pred, depth + 1);
}

size_t first_unset(const std::vector<bool>& flags) {
  return static_cast<size_t>(std::find(flags.begin(), flags.end(), false) - flags.begin());
}

}  // namespace

bool is_cases(const Pool& pool, Ref ref) {
  return pool.is(ref, Op::kOpaque) && pool[ref].flag == kCasesFlag;
}

bool same_cases(Comparer& comparer, Ref gold, Ref pred, int depth) {
  const Pool& pool = comparer.pool();
  const std::vector<Ref> g = pool.copy_children(gold), p = pool.copy_children(pred);
  if (g.size() != p.size() || g.size() % 2 != 0 || g.size() > 40) return false;
  const size_t rows = g.size() / 2;
  std::vector<bool> used(rows, false), matched(rows, false);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < rows && !matched[i]; ++k) {
      if (used[k] || !same_condition(comparer, g[2 * i + 1], p[2 * k + 1], depth) ||
          !comparer.compare(g[2 * i], p[2 * k], depth + 1))
        continue;
      used[k] = matched[i] = true;
    }
  }
  const auto left = std::count(matched.begin(), matched.end(), false);
  if (left != 1) return left == 0;
  const size_t i = first_unset(matched), k = first_unset(used);
  return (is_otherwise(pool, g[2 * i + 1]) || is_otherwise(pool, p[2 * k + 1])) &&
         comparer.compare(g[2 * i], p[2 * k], depth + 1);
}

}  // namespace zeroth::math
