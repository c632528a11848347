#include <algorithm>
#include <map>
#include <numeric>
#include <queue>

#include "core/error.h"
#include "stages/sft_rows.h"

namespace zeroth {
namespace {

LearntRow slice(const LearntRow& row, size_t begin, size_t end) {
  end = std::min(end, row.tokens.size());
  return {{row.tokens.begin() + begin, row.tokens.begin() + end},
          {row.learnt.begin() + begin, row.learnt.begin() + end}};
}

std::vector<PackedRow> wrap(const std::vector<LearntRow>& rows, size_t length) {
  LearntRow stream;
  for (const LearntRow& row : rows) {
    stream.tokens.insert(stream.tokens.end(), row.tokens.begin(), row.tokens.end());
    stream.learnt.insert(stream.learnt.end(), row.learnt.begin(), row.learnt.end());
  }
  std::vector<PackedRow> packed;
  for (size_t at = 0; at < stream.tokens.size(); at += length) {
    packed.push_back({slice(stream, at, at + length)});
  }
  return packed;
}

std::vector<PackedRow> best_fit_decreasing(const std::vector<LearntRow>& rows, size_t length) {
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return rows[a].tokens.size() > rows[b].tokens.size();
  });
  std::vector<PackedRow> packed;
  // Of every space that is left in some row: the rows with it, that which got it first in front.
  std::map<size_t, std::queue<size_t>> with_space;
  for (const size_t index : order) {
    const size_t needed = rows[index].tokens.size();
    const auto fit = with_space.lower_bound(needed);
    size_t space = length, row = packed.size();
    if (fit == with_space.end()) {
      packed.emplace_back();
    } else {
      space = fit->first;
      row = fit->second.front();
      fit->second.pop();
      if (fit->second.empty()) with_space.erase(fit);
    }
    packed[row].push_back(rows[index]);
    if (space > needed) with_space[space - needed].push(row);
  }
  return packed;
}

}  // namespace

std::vector<PackedRow> pack_rows(std::vector<LearntRow> rows, const std::string& strategy,
                                 int64_t max_length) {
  std::erase_if(rows, [](const LearntRow& row) { return row.tokens.empty(); });
  if (strategy == "none") {
    std::vector<PackedRow> packed;
    packed.reserve(rows.size());
    for (LearntRow& row : rows) packed.push_back({std::move(row)});
    return packed;
  }
  if (max_length <= 0) {
    fail_usage("data.packing = " + strategy + " needs data.max_length, the tokens of a packed row",
               "set data.max_length, for example to 2048");
  }
  const auto length = static_cast<size_t>(max_length);
  if (strategy == "wrapped") return wrap(rows, length);
  std::vector<LearntRow> pieces;
  for (const LearntRow& row : rows) {
    if (row.tokens.size() <= length) {
      pieces.push_back(row);
      continue;
    }
    const size_t end = strategy == "bfd_split" ? row.tokens.size() : length;
    for (size_t at = 0; at < end; at += length) pieces.push_back(slice(row, at, at + length));
  }
  return best_fit_decreasing(pieces, length);
}

}  // namespace zeroth
