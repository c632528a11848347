// Forms of an answer that are equal by what they stand for: letters of several choices, vectors
// over i, j and k, values by cases, a yes or no with its reason.
#include <algorithm>
#include <array>

#include "rewards/math/compare.h"
#include "rewards/math/extract_parts.h"

namespace zeroth::math {

bool Comparer::other_forms(Ref gold, Ref pred, int depth) {
  const auto is_cases = [&](Ref ref) {
    return pool_.is(ref, Op::kOpaque) && pool_[ref].flag == kCasesFlag;
  };
  if (is_cases(gold) || is_cases(pred))
    return is_cases(gold) && is_cases(pred) && same_cases(gold, pred, depth);
  if (pool_.is(gold, Op::kText) && affirms(gold, pred)) return true;
  const auto vector = [&](Ref ref) {
    const bool column = pool_.is(ref, Op::kMatrix) && pool_[ref].data == 1;
    return (pool_.is(ref, Op::kTuple) || column) &&
           (pool_[ref].count == 2 || pool_[ref].count == 3);
  };
  if (vector(gold) && is_scalar(pred)) return same_vector(gold, pred, depth);
  if (vector(pred) && is_scalar(gold)) return same_vector(pred, gold, depth);
  if (pool_.is(gold, Op::kMatrix) != pool_.is(pred, Op::kMatrix)) {
    const Ref rows = as_matrix(pool_.is(gold, Op::kMatrix) ? pred : gold);
    if (rows != kNoRef)
      return pool_.is(gold, Op::kMatrix) ? matrices(gold, rows, depth)
                                         : matrices(rows, pred, depth);
  }
  if (is_scalar(gold) && is_scalar(pred) && names_units(gold) != names_units(pred) &&
      numbers(plain_units(gold), plain_units(pred)))
    return true;
  const std::string letters = choice_letters(gold);
  return letters.size() > 1 && letters == choice_letters(pred);
}

// "ABD" of "ABD", "A, B, D" and "\\text{A,B,D}"; sorted, empty for anything else.
std::string Comparer::choice_letters(Ref ref) const {
  std::string letters;
  const auto add = [&](Ref part) {
    if (pool_.is(part, Op::kSymbol)) {
      letters += pool_.name(part);
    } else if (pool_.is(part, Op::kText)) {
      for (const char c : pool_.name(part)) {
        if (c != '(' && c != ')') letters += c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
      }
    } else {
      letters += '?';
    }
  };
  switch (pool_[ref].op) {
    case Op::kList:
    case Op::kSet:
    case Op::kMul:
      if (pool_[ref].count > 10) return {};
      for (Ref kid : pool_.children(ref)) add(kid);
      break;
    case Op::kText:
      add(ref);
      break;
    default:
      return {};
  }
  if (letters.size() < 2 || letters.size() > 10) return {};
  std::sort(letters.begin(), letters.end());
  const bool choices = letters.front() >= 'A' && letters.back() <= 'J' &&
                       std::adjacent_find(letters.begin(), letters.end()) == letters.end();
  return choices ? letters : std::string();
}

namespace {

// The place of a unit vector's name among i, j, k; -1 for any other.
int unit_vector(std::string_view name) {
  for (std::string_view accent : {"hat{", "vec{", "bar{"}) {
    if (name.starts_with(accent) && name.size() > accent.size() + 1)
      name = name.substr(accent.size(), name.size() - accent.size() - 1);
  }
  if (name == "i" || name == "imath") return 0;
  if (name == "j" || name == "jmath") return 1;
  return name == "k" ? 2 : -1;
}

// The tree with the unit vectors set to the given numbers; kNoRef when the pool is full.
Ref with_units(Pool& pool, Ref ref, const std::array<int, 3>& values, std::array<bool, 3>* seen) {
  if (pool.full()) return kNoRef;
  int place = -1;
  if (pool.is(ref, Op::kImaginary)) place = 0;
  if (pool.is(ref, Op::kSymbol)) place = unit_vector(pool.name(ref));
  if (place >= 0) {
    (*seen)[static_cast<size_t>(place)] = true;
    return pool.integer(values[static_cast<size_t>(place)]);
  }
  if (pool[ref].count == 0) return ref;
  std::vector<Ref> kids = pool.copy_children(ref);
  bool changed = false;
  for (Ref& kid : kids) {
    const Ref other = with_units(pool, kid, values, seen);
    if (other == kNoRef) return kNoRef;
    changed |= other != kid;
    kid = other;
  }
  return changed ? pool.rebuild(ref, kids) : ref;
}

}  // namespace

// An accented unit vector is in it.
bool Comparer::names_units(Ref ref) const {
  if (!pool_.is(ref, Op::kAdd) && !pool_.is(ref, Op::kMul)) return false;
  for (const int32_t id : pool_.free_symbols(ref)) {
    const std::string& name = pool_.name_of(id);
    if (name.ends_with('}') && unit_vector(name) >= 0) return true;
  }
  return false;
}

// With i, j and k in place of their accented forms.
Ref Comparer::plain_units(Ref ref) {
  static constexpr std::string_view kNames[] = {"i", "j", "k"};
  for (const int32_t id : pool_.free_symbols(ref)) {
    const int place = unit_vector(pool_.name_of(id));
    if (place < 0) continue;
    const Ref plain = place == 0 ? pool_.leaf(Op::kImaginary) : pool_.symbol(kNames[place]);
    const Ref changed = pool_.substitute(ref, id, plain);
    if (changed == kNoRef) return ref;
    ref = changed;
  }
  return ref;
}

// [[1, 2], [3, 4]]: rows in brackets, as programs print a matrix.
Ref Comparer::as_matrix(Ref ref) {
  const auto is_row = [&](Ref row) {
    return pool_.is(row, Op::kTuple) || (pool_.is(row, Op::kInterval) && pool_[row].flag == 0);
  };
  if (!is_row(ref)) return kNoRef;
  std::vector<Ref> cells;
  int columns = 0;
  for (Ref row : pool_.copy_children(ref)) {
    if (!is_row(row) || (columns != 0 && pool_[row].count != columns)) return kNoRef;
    columns = pool_[row].count;
    for (Ref cell : pool_.copy_children(row)) cells.push_back(cell);
  }
  return pool_.make(Op::kMatrix, cells, columns);
}

// (1, 2, 3) is i + 2j + 3k.
bool Comparer::same_vector(Ref tuple, Ref expression, int depth) {
  if (!pool_.is(expression, Op::kAdd) && !pool_.is(expression, Op::kMul)) return false;
  std::array<bool, 3> seen{};
  const int count = pool_[tuple].count;
  const Ref none = with_units(pool_, expression, {0, 0, 0}, &seen);
  if (none == kNoRef || (!seen[1] && !seen[2]) || (count == 2 && seen[2])) return false;
  if (!numbers(none, pool_.integer(0))) return false;
  Ref sum = pool_.integer(0);
  for (int i = 0; i < 3; ++i) {
    std::array<int, 3> one{}, two{};
    one[static_cast<size_t>(i)] = 1;
    two[static_cast<size_t>(i)] = 2;
    const Ref once = with_units(pool_, expression, one, &seen);
    const Ref twice = once == kNoRef ? kNoRef : with_units(pool_, expression, two, &seen);
    if (twice == kNoRef || !numbers(twice, pool_.mul(pool_.integer(2), once))) return false;
    if (i < count && !compare(pool_.child(tuple, i), once, depth + 1)) return false;
    sum = pool_.add(sum, once);
  }
  const Ref all = with_units(pool_, expression, {1, 1, 1}, &seen);
  return all != kNoRef && numbers(all, sum);
}

// A condition of a case without the words that introduce it.
bool Comparer::same_condition(Ref gold, Ref pred, int depth) {
  const auto is_rest = [&](Ref ref) {
    return pool_.is(ref, Op::kText) && pool_.name(ref) == "otherwise";
  };
  if (is_rest(gold) || is_rest(pred)) return is_rest(gold) && is_rest(pred);
  if (pool_.is(gold, Op::kText) && pool_.is(pred, Op::kText)) {
    const auto plain = [&](Ref ref) {
      std::string words = pool_.name(ref);
      for (std::string_view word : {"if", "when", "for", "is"}) {
        for (size_t at = words.find(word); at != std::string::npos; at = words.find(word, at))
          words.erase(at, word.size());
      }
      return words;
    };
    return plain(gold) == plain(pred);
  }
  return compare(gold, pred, depth + 1);
}

// Cases in any order; "otherwise" stands for the one condition that is left.
bool Comparer::same_cases(Ref gold, Ref pred, int depth) {
  const std::vector<Ref> g = pool_.copy_children(gold), p = pool_.copy_children(pred);
  if (g.size() != p.size() || g.size() % 2 != 0 || g.size() > 40) return false;
  const size_t rows = g.size() / 2;
  std::vector<bool> used(rows, false), matched(rows, false);
  for (size_t i = 0; i < rows; ++i) {
    for (size_t k = 0; k < rows && !matched[i]; ++k) {
      if (used[k] || !same_condition(g[2 * i + 1], p[2 * k + 1], depth) ||
          !compare(g[2 * i], p[2 * k], depth + 1))
        continue;
      used[k] = matched[i] = true;
    }
  }
  if (std::count(matched.begin(), matched.end(), false) == 0) return true;
  if (std::count(matched.begin(), matched.end(), false) != 1) return false;
  const auto i =
      static_cast<size_t>(std::find(matched.begin(), matched.end(), false) - matched.begin());
  const auto k = static_cast<size_t>(std::find(used.begin(), used.end(), false) - used.begin());
  const auto is_rest = [&](Ref ref) {
    return pool_.is(ref, Op::kText) && pool_.name(ref) == "otherwise";
  };
  return (is_rest(g[2 * i + 1]) || is_rest(p[2 * k + 1])) && compare(g[2 * i], p[2 * k], depth + 1);
}

// "Yes" of "Yes, it is possible".
bool Comparer::affirms(Ref gold, Ref pred) const {
  if (pool_.is(pred, Op::kText)) {  // "Yes it is" without a comma
    const std::string& text = pool_.name(pred);
    for (std::string_view word :
         {"yesit", "yesthey", "yesthere", "yesthis", "yeswe", "noit", "nothey"}) {
      if (text.starts_with(word) && text.size() > word.size() &&
          pool_.name(gold) == word.substr(0, word[0] == 'y' ? 3 : 2))
        return true;
    }
    return false;
  }
  static constexpr auto kWords = std::to_array<std::string_view>({"yes", "no", "true", "false"});
  const std::string& word = pool_.name(gold);
  if (!pool_.is(pred, Op::kList) || std::find(kWords.begin(), kWords.end(), word) == kWords.end())
    return false;
  for (int i = 0; i < pool_[pred].count; ++i) {
    const Ref member = pool_.child(pred, i);
    if (!pool_.is(member, Op::kText)) return false;
    const bool verdict =
        std::find(kWords.begin(), kWords.end(), pool_.name(member)) != kWords.end();
    if (i == 0 ? pool_.name(member) != word : verdict) return false;
  }
  return true;
}

}  // namespace zeroth::math
