// Saved rows, and what the device says of rows and choices, over fibers against the CPU, by bytes.
#include <algorithm>
#include <numeric>

#include "cuda_test.h"
#include "kernels/cuda/assemble.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/experts.h"
#include "kernels/cuda/limits.h"
#include "kernels/cuda/saved_rows.h"

namespace zeroth::kernels {
namespace {

const Compared kCompared{"save_rows",   "recall_rows", "recall_choices", "choice_parts",
                         "survey_rows", "copy",        "count_up"};

std::vector<int32_t> choices_of(int64_t m, int top_k, int experts, uint32_t stream) {
  std::vector<int32_t> ids;
  Rng rng(31, stream);
  for (int64_t row = 0; row < m; ++row) {
    std::vector<int32_t> all(experts);
    std::iota(all.begin(), all.end(), 0);
    for (int i = 0; i < top_k; ++i) {
      std::swap(all[i], all[i + rng.below(static_cast<uint32_t>(experts - i))]);
    }
    std::sort(all.begin(), all.begin() + top_k);
    ids.insert(ids.end(), all.begin(), all.begin() + top_k);
  }
  return ids;
}

// Arrays of every order, on both sides. Rows of whole cache lines come first, as callers have them.
struct Saved {
  struct Kind {
    SavedOrder order;
    int64_t words;
  };
  std::vector<Kind> kinds = {{SavedOrder::kRow, 32},
                             {SavedOrder::kChoice, 16},
                             {SavedOrder::kRow, 3},
                             {SavedOrder::kColumn, 2},
                             {SavedOrder::kDerived, 0}};
  int64_t m;
  int top_k;
  std::vector<Values> values;
  std::vector<SavedArray> arrays;

  Saved(int64_t rows, int k, uint32_t stream) : m(rows), top_k(k) {
    for (const Kind& kind : kinds) {
      const int64_t n = m * kind.words * (kind.order == SavedOrder::kChoice ? top_k : 1);
      values.push_back(stream == 0 ? unwritten(n) : random_values(n, stream++));
    }
    for (size_t i = 0; i < kinds.size(); ++i) {
      arrays.push_back(
          {At<float>(values[i].data()).as<char>(), kinds[i].words * 4, kinds[i].order});
    }
  }
};

void check_saved(int64_t m, int top_k, int experts) {
  if (!shapes.add({"save_rows", "recall_rows", "recall_choices"}, {m, top_k, experts})) return;
  CAPTURE(m);
  Saved from(m, top_k, 1);
  const std::vector<int32_t> ids = choices_of(m, top_k, experts, 2);
  std::vector<int64_t> offsets(experts + 1);
  std::vector<int32_t> order(m * top_k);
  expert_sort(ids.data(), m, top_k, experts, offsets.data(), order.data());
  const int64_t bytes = saved_bytes(from.arrays, top_k), words = bytes / 4;
  int64_t used = 0;
  for (const SavedArray& array : from.arrays) used += array.row_bytes(top_k) / 4;

  // Rows lie in descending order; of several, one is kept nowhere.
  Memory<float> kept = allocate_array<float>(m * words);
  std::fill_n(kept.get(), m * words, 0.0f);
  const Array<float> akept(std::span<const float>(kept.get(), static_cast<size_t>(m * words)));
  const int64_t nowhere = m > 1 ? 3 : -1;
  std::vector<char*> at;
  std::vector<uint32_t*> aat;
  for (int64_t i = 0; i < m; ++i) {
    const int64_t row = (m - 1 - i) * words;
    at.push_back(i == nowhere ? nullptr : reinterpret_cast<char*>(kept.get() + row));
    aat.push_back(i == nowhere ? nullptr : reinterpret_cast<uint32_t*>(akept.data() + row));
  }
  save_rows(from.arrays, at, order, top_k);

  const Array<int32_t> aorder(order), place(m * top_k);
  const Array<uint32_t*> aaat(aat);
  cuda::places_of(nullptr, aorder.data(), m * top_k, place.data());
  std::vector<std::unique_ptr<Array<float>>> memory;
  const auto parts_of = [&](const Saved& saved) {
    std::vector<cuda::SavedPart> parts;
    for (size_t i = 0; i < saved.values.size(); ++i) {
      memory.push_back(std::make_unique<Array<float>>(saved.values[i]));
      parts.push_back({reinterpret_cast<uint32_t*>(memory.back()->data()), saved.kinds[i].words,
                       saved.kinds[i].order});
    }
    return parts;
  };
  const Array<cuda::SavedPart> aparts(parts_of(from));
  cuda::SavedRows rows{aparts.data(), aparts.size(), aaat.data(), place.data(), m, top_k};
  cuda::save_rows(nullptr, rows);
  check_quiet();
  const std::vector<float> got = akept.host();
  for (int64_t i = 0; i < m; ++i) {
    if (i == nowhere) continue;
    const int64_t row = (m - 1 - i) * words;
    CHECK(std::memcmp(&got[row], kept.get() + row, static_cast<size_t>(used) * 4) == 0);
  }
  if (nowhere >= 0) {  // recalled rows are all kept somewhere
    at[nowhere] = at[0];
    aat[nowhere] = aat[0];
  }
  const Array<uint32_t*> all(aat);
  rows.at = all.data();
  Saved to(m, top_k, 0);
  memory.clear();
  const Array<cuda::SavedPart> ato(parts_of(to));
  rows.parts = ato.data();
  const auto check_arrays = [&](const char* what) {
    for (size_t i = 0; i < to.values.size(); ++i) check_same(*memory[i], to.values[i], what);
  };
  recall_rows(to.arrays, at, top_k);
  cuda::recall_rows(nullptr, rows);
  check_arrays("recall_rows");
  recall_choices(to.arrays, at, order, top_k);
  cuda::recall_choices(nullptr, rows);
  check_arrays("recall_choices");
}

TEST_CASE("rows are saved and recalled as by the CPU: rows, columns, choices, rows kept nowhere") {
  check_saved(1, 1, 2);
  check_saved(7, 2, 5);
  check_saved(65, 3, 8);
  for (Draw draw(1); shapes.wanting("save_rows");) {
    const int top_k = static_cast<int>(draw.between(1, 4));
    const int experts = top_k + static_cast<int>(draw.between(0, 6));
    check_saved(draw.between(4, 24), top_k, experts);
  }
}

void check_choice_parts(int64_t m, int top_k, int experts, const std::vector<int64_t>& parts) {
  std::vector<int64_t> numbers = {m, top_k, experts};
  numbers.insert(numbers.end(), parts.begin(), parts.end());
  if (!std::is_sorted(parts.begin(), parts.end())) return;
  if (!shapes.add({"choice_parts"}, numbers)) return;
  const std::vector<int32_t> ids = choices_of(m, top_k, experts, 3);
  std::vector<int64_t> offsets(experts + 1), begins(experts * parts.size());
  std::vector<int32_t> order(m * top_k);
  expert_sort(ids.data(), m, top_k, experts, offsets.data(), order.data());
  choice_parts(offsets, order, top_k, parts, begins.data());
  const Array<int64_t> aoffsets(offsets), aparts(parts), abegins(begins.size());
  const Array<int32_t> aorder(order);
  cuda::choice_parts(nullptr, aoffsets.data(), experts, aorder.data(), top_k, aparts.data(),
                     aparts.size(), abegins.data());
  check_same(abegins, begins, "choice_parts");
}

TEST_CASE("parts begin among sorted choices where the CPU says, empty parts and experts included") {
  for (const auto& [m, top_k, experts] :
       {std::tuple<int64_t, int, int>{1, 1, 1}, {9, 2, 5}, {300, 3, 8}}) {
    for (const std::vector<int64_t>& parts :
         {std::vector<int64_t>{0}, {0, 0, 1}, {0, 4, 4, m - 1}, {0, m}}) {
      check_choice_parts(m, top_k, experts, parts);
    }
  }
  for (Draw draw(2); shapes.wanting("choice_parts");) {
    const int64_t m = draw.between(1, 30);
    const int top_k = static_cast<int>(draw.between(1, 3));
    const int experts = top_k + static_cast<int>(draw.between(0, 6));
    check_choice_parts(m, top_k, experts, draw.cuts(m, draw.between(1, 4)));
  }
}

void check_survey(int64_t m, int64_t sequences) {
  if (!shapes.add({"survey_rows"}, {m, sequences})) return;
  std::vector<int32_t> sequence(m), position(m);
  int64_t longest = 0, joined = 0;
  Rng rng(32, static_cast<uint32_t>(m));
  for (int64_t i = 0; i < m; ++i) {
    sequence[i] = static_cast<int32_t>(rng.below(static_cast<uint32_t>(sequences)));
    position[i] = static_cast<int32_t>(rng.below(5000));
    longest = std::max<int64_t>(longest, position[i] + 1);
    joined += i > 0 && sequence[i] == sequence[i - 1];
  }
  const Array<int32_t> asequence(sequence), aposition(position);
  const Array<int64_t> survey(2);
  cuda::survey_rows(nullptr, asequence.data(), aposition.data(), m, survey.data());
  check_same(survey, {longest, joined}, "survey");
}

TEST_CASE("rows are surveyed: the longest position, and how many follow one of their sequence") {
  for (const int64_t m : {1, 2, 127, 128, 129, 1000}) check_survey(m, 3);
  for (Draw draw(3); shapes.wanting("survey_rows");) {
    check_survey(draw.between(1, 400), draw.between(1, 4));
  }
}

void check_numbers(int64_t n, int32_t step) {
  if (!shapes.add({"copy", "count_up"}, {n, step})) return;
  const Values x = random_values(n, 1);
  std::vector<int32_t> ids(n);
  count_up(ids.data(), n, step);
  const Array<float> ax(x), ay(n);
  const Array<int32_t> aids(n);
  cuda::copy(nullptr, ax.data(), ay.data(), n);
  cuda::count_up(nullptr, aids.data(), n, step);
  check_same(ay, x, "copy");
  check_same(aids, ids, "count_up");
}

TEST_CASE("numbers are copied and counted up") {
  for (const int64_t n : {1, 256, 1000}) {
    for (const int32_t step : {0, 3}) check_numbers(n, step);
  }
  for (Draw draw(4); shapes.wanting("copy");) {
    check_numbers(draw.between(1, 600), static_cast<int32_t>(draw.between(0, 3)));
  }
}

TEST_CASE("the loops that limits are measured with compute and read all of it") {
  const int64_t blocks = 3, threads = blocks * cuda::kLimitThreads, n = 5000;
  const Array<float> out(threads), sums(threads);
  cuda::fma_loop(nullptr, blocks, 50, out.data());  // every chain ends at 2
  check_same(out, Values(threads, 2.0f * cuda::kFmaChains), "fma_loop");
  const Array<float> ones(Values(n, 1.0f));
  cuda::read_loop(nullptr, blocks, ones.data(), n, sums.data());
  check_quiet();
  const Values got = sums.host();
  CHECK(std::accumulate(got.begin(), got.end(), 0.0) == n);
}

TEST_CASE("saved rows and choices were compared on 200 shapes") { kCompared.check(); }

// What no kernel does by itself.
bool is_compared(const std::string& name) {
  const std::vector<std::string>& all = Compared::all();
  return name == "packed_floats" || std::find(all.begin(), all.end(), name) != all.end();
}

TEST_CASE("every operator of the back end is one that some source compares") {
#define ZEROTH_OPERATOR(result, name, parameters, arguments, writes) \
  INFO(#name);                                                       \
  CHECK(is_compared(#name));
#include "kernels/operator_list.inc"
#undef ZEROTH_OPERATOR
}

}  // namespace
}  // namespace zeroth::kernels
