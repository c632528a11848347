#include "tasks/ladder.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/error.h"
#include "core/rng.h"

using namespace zeroth;

namespace {

LadderEntry entry_of(std::string name, double right, int problems, int samples, uint64_t seed) {
  LadderEntry entry;
  entry.name = std::move(name);
  Rng rng(seed, 0);
  for (int p = 0; p < problems; ++p) {
    for (int s = 0; s < samples; ++s)
      entry.scores["p" + std::to_string(p)].push_back(rng.chance(right) ? 1 : 0);
  }
  return entry;
}

}  // namespace

TEST_CASE("ladder of two, by hand") {
  // One problem: ours 1 1 0 against 1 0: wins 2, losses 1, ties 3 of 6; the other a sure win.
  const std::vector<LadderEntry> entries = {{"base", {{"a", {1, 0}}, {"b", {0}}, {"only", {1}}}},
                                            {"trained", {{"a", {1, 1, 0}}, {"b", {1}}}}};
  const Ladder ladder = make_ladder(entries, 0);
  CHECK(ladder.problems == 2);
  REQUIRE(ladder.rows.size() == 2);
  CHECK(ladder.rows[0].accuracy == doctest::Approx(0.25));
  CHECK(ladder.rows[1].accuracy == doctest::Approx((2. / 3 + 1) / 2));
  const LadderPair& pair = ladder.rows[1].against[0];
  CHECK(pair.wins == doctest::Approx((2. / 6 + 1) / 2));
  CHECK(pair.ties == doctest::Approx(3. / 6 / 2));
  CHECK(pair.losses == doctest::Approx(1. / 6 / 2));
  CHECK(ladder.rows[0].against[1].losses == pair.wins);
  CHECK(ladder.rows[1].against[1].ties > 0);
  // Two games and the added tie: points w against 3 - w.
  const double w = 2 * (pair.wins + pair.ties / 2) + 0.5;
  CHECK(ladder.rows[0].elo == 0);
  CHECK(ladder.rows[1].elo == doctest::Approx(400 * std::log10(w / (3 - w))).epsilon(1e-6));
  CHECK(ladder.rows[1].elo95.lo == ladder.rows[1].elo);
}

TEST_CASE(
    "ladder: a better checkpoint stands higher, its interval around it, and draws are seeded") {
  const std::vector<LadderEntry> entries = {entry_of("base", 0.3, 200, 4, 1),
                                            entry_of("one", 0.6, 200, 4, 2),
                                            entry_of("two", 0.9, 200, 4, 3)};
  const Ladder ladder = make_ladder(entries, 200, 7);
  CHECK(ladder.rows[0].elo == 0);
  CHECK(ladder.rows[1].elo > 50);
  CHECK(ladder.rows[2].elo > ladder.rows[1].elo + 50);
  for (const LadderRow& row : ladder.rows) {
    CHECK(row.elo95.lo <= row.elo);
    CHECK(row.elo <= row.elo95.hi);
  }
  CHECK(ladder.rows[1].elo95.hi - ladder.rows[1].elo95.lo > 5);
  const Ladder again = make_ladder(entries, 200, 7);
  CHECK(again.rows[2].elo95.lo == ladder.rows[2].elo95.lo);
}

TEST_CASE("ladder: who always wins has a finite rating; equals stand level") {
  const std::vector<LadderEntry> entries = {entry_of("never", 0, 50, 2, 1),
                                            entry_of("always", 1, 50, 2, 1),
                                            entry_of("also", 1, 50, 2, 2)};
  const Ladder ladder = make_ladder(entries, 20);
  CHECK(std::isfinite(ladder.rows[1].elo));
  CHECK(ladder.rows[1].elo > 400);
  CHECK(ladder.rows[1].elo == doctest::Approx(ladder.rows[2].elo).epsilon(1e-6));
}

TEST_CASE("ladders that cannot be made") {
  const LadderEntry a{"a", {{"x", {1}}}}, b{"b", {{"y", {1}}}};
  const std::vector<LadderEntry> one = {a}, same = {a, a}, apart = {a, b};
  CHECK_THROWS_WITH_AS(make_ladder(one), doctest::Contains("two or more"), Error);
  CHECK_THROWS_WITH_AS(make_ladder(same), doctest::Contains("named \"a\""), Error);
  CHECK_THROWS_WITH_AS(make_ladder(apart), doctest::Contains("no problem in common"), Error);
}
