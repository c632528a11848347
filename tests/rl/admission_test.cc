// Which groups a step takes under a bound on staleness: simulated with samplers of every speed.
#include "rl/admission.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <deque>
#include <random>

namespace zeroth {
namespace {

using Positions = std::vector<size_t>;

TEST_CASE("the first that came are taken, but for those that others need the place of") {
  const std::vector<int64_t> none;
  // Nobody is in a hurry.
  CHECK(choose_groups(std::vector<int64_t>{9, 9, 8, 9}, none, 7, 2, 2) == Positions{0, 1});
  // Three are due by the next step, and that takes two: one must go now, before others that came.
  CHECK(choose_groups(std::vector<int64_t>{9, 9, 8, 8, 8}, none, 7, 2, 2) == Positions{0, 2});
  // What is due now goes first, whenever it came.
  CHECK(choose_groups(std::vector<int64_t>{9, 9, 7, 9, 7}, none, 7, 2, 2) == Positions{2, 4});
  // One that is due now is not there: the step waits for it, however many others are.
  CHECK(
      choose_groups(std::vector<int64_t>{9, 9, 9, 9}, std::vector<int64_t>{7, 7}, 7, 2, 2).empty());
  CHECK(choose_groups(std::vector<int64_t>{9, 9, 9}, std::vector<int64_t>{7}, 7, 2, 2).empty());
  CHECK(choose_groups(std::vector<int64_t>{9, 7, 9}, std::vector<int64_t>{9}, 7, 2, 2) ==
        Positions{0, 1});
  CHECK(choose_groups(std::vector<int64_t>{9}, none, 7, 2, 2).empty());
}

TEST_CASE("no group is ever too old, whatever the sampler's speed, and none is thrown away") {
  struct Group {
    int64_t due;
    int left;  // ticks until it is there
  };
  std::mt19937 random(5);
  for (int run = 0; run < 400; ++run) {
    const int batch = 1 + static_cast<int>(random() % 5);
    const int staleness = 1 + static_cast<int>(random() % 5);
    const int64_t steps = 40;
    const int longest = 1 + static_cast<int>(random() % 60);
    Pace pace(batch, staleness);
    std::deque<Group> out, ready;
    int64_t admitted = 0;
    for (int64_t step = 0; step < steps; ++step) {
      CAPTURE(run);
      CAPTURE(step);
      int64_t training = 0;
      // Ticks before the step's groups are taken, and while it is updated.
      const auto tick = [&] {
        while (static_cast<int64_t>(out.size() + ready.size()) + training <
                   pace.most(step, steps) &&
               random() % 4 != 0) {
          out.push_back({step + staleness, 1 + static_cast<int>(random() % longest)});
          ++admitted;
        }
        for (size_t i = 0; i < out.size();) {
          if (--out[i].left > 0) {
            ++i;
            continue;
          }
          ready.push_back(out[i]);
          out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
        }
      };
      bool waited = false;
      for (;;) {
        tick();
        std::vector<int64_t> here, there;
        for (const Group& g : ready) here.push_back(g.due);
        for (const Group& g : out) there.push_back(g.due);
        const auto chosen = choose_groups(here, there, step, batch, staleness);
        if (!chosen.empty()) {
          REQUIRE(static_cast<int>(chosen.size()) == batch);
          for (auto i = chosen.rbegin(); i != chosen.rend(); ++i) {
            REQUIRE(ready[*i].due >= step);
            ready.erase(ready.begin() + static_cast<std::ptrdiff_t>(*i));
          }
          break;
        }
        waited = true;
      }
      pace.took(waited, static_cast<int64_t>(ready.size()));
      training = batch;
      for (size_t busy = random() % 30; busy > 0; --busy) tick();
      REQUIRE(static_cast<int64_t>(out.size() + ready.size()) + training <=
              int64_t{staleness + 1} * batch);
    }
    CHECK(admitted == steps * batch);  // each was trained on
    CHECK(out.empty());
    CHECK(ready.empty());
  }
}

TEST_CASE("draws that were given up are drawn again before new ones") {
  DrawNumbers draws;
  for (const int64_t draw : {0, 1, 2}) CHECK(draws.take() == draw);
  draws.use(6);
  CHECK(draws.next == 7);
  CHECK(draws.open == std::set<int64_t>{3, 4, 5});
  draws.use(4);
  draws.use(4);
  draws.open.insert(1);
  for (const int64_t draw : {1, 3, 5, 7, 8}) CHECK(draws.take() == draw);
  CHECK(draws.open.empty());
  struct {
    int64_t draw;
    std::vector<int64_t> skipped;
  } group{11, {9, 10}};
  draws.use_group(group);
  CHECK(draws.open.empty());
  CHECK(draws.next == 12);
}

TEST_CASE("sampling is as far ahead as steps need, and no more") {
  Pace pace(8, 4);
  CHECK(pace.most(0, 100) == 16);
  for (int i = 0; i < 20; ++i) pace.took(true, 0);
  CHECK(pace.most(0, 100) == 40);  // (4 + 1) x 8
  for (int i = 0; i < 20; ++i) pace.took(false, 8);
  CHECK(pace.most(0, 100) == 16);
  CHECK(pace.most(99, 100) == 8);  // the last step needs no more
  Pace one(8, 1);
  one.took(true, 0);
  CHECK(one.most(0, 100) == 16);
}

}  // namespace
}  // namespace zeroth
