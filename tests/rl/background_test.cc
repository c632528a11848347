#include "rl/background.h"

#include <doctest/doctest.h>

#include <stdexcept>
#include <thread>

using namespace zeroth;

TEST_CASE("results and exceptions come back, from one thread") {
  Background background;
  const std::atomic<bool> stop{false};
  const auto first = background.run([] { return std::this_thread::get_id(); }, &stop, "asking");
  CHECK(first != std::this_thread::get_id());
  CHECK(background.run([] { return std::this_thread::get_id(); }, &stop, "asking") == first);
  CHECK_THROWS_WITH_AS(
      background.run([]() -> int { throw std::runtime_error("broken"); }, &stop, "asking"),
      "broken", std::runtime_error);
  CHECK(background.run([] { return 7; }, nullptr, "asking") == 7);
}

TEST_CASE("a stop gives a call up, and the next call does not wait for it") {
  std::atomic<bool> release{false};
  bool ended = false;
  {
    Background background;
    std::atomic<bool> stop{false};
    const auto stuck = [&] {
      stop = true;  // while the call is under way
      while (!release) std::this_thread::yield();
      ended = true;
      return 1;
    };
    CHECK_THROWS_WITH_AS(background.run(stuck, &stop, "grading"),
                         doctest::Contains("grading was interrupted"), Interrupted);
    CHECK_THROWS_AS(background.run([] { return 2; }, &stop, "grading"), Interrupted);
    stop = false;
    CHECK(background.run([] { return 3; }, &stop, "grading") == 3);
    release = true;
  }
  CHECK(ended);  // the destructor waits
}
