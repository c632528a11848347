#include "core/parallel.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/background_threads.h"
#include "core/queue.h"

using namespace zeroth;

TEST_CASE("every index is visited once, for any number of threads") {
  const int before = num_threads();
  for (int threads : {1, 2, 4}) {
    set_num_threads(threads);
    for (int64_t n : {0, 1, 7, 64, 10001}) {
      std::vector<std::atomic<int>> seen(n);
      parallel_for(n, 3, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      for (int64_t i = 0; i < n; ++i) REQUIRE(seen[i] == 1);
    }
  }
  set_num_threads(before);
}

TEST_CASE("an exception reaches the caller and the pool stays usable") {
  const int before = num_threads();
  set_num_threads(3);
  for (int round = 0; round < 20; ++round) {
    CHECK_THROWS_AS(parallel_for(100, 1,
                                 [](int64_t begin, int64_t) {
                                   if (begin >= 50) throw std::runtime_error("x");
                                 }),
                    std::runtime_error);
    std::atomic<int> sum{0};
    parallel_for(100, 1, [&](int64_t begin, int64_t end) { sum += static_cast<int>(end - begin); });
    CHECK(sum == 100);
  }
  set_num_threads(before);
}

TEST_CASE("nested loops run inline") {
  std::atomic<int> sum{0};
  parallel_for(8, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      parallel_for(10, 1, [&](int64_t b, int64_t e) { sum += static_cast<int>(e - b); });
    }
  });
  CHECK(sum == 80);
}

TEST_CASE("work in the background has threads of its own while the others are taken") {
  const int before = num_threads();
  set_num_threads(2);
  std::atomic<bool> taken{false}, release{false};
  std::thread other([&] {
    parallel_for(2, 1, [&](int64_t, int64_t) {
      taken = true;
      while (!release) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
  });
  while (!taken) std::this_thread::yield();
  // Ids of the threads that run a loop of this one.
  const auto helpers = [] {
    std::mutex mutex;
    std::set<std::thread::id> ids;
    parallel_for(64, 1, [&](int64_t, int64_t) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      std::lock_guard lock(mutex);
      ids.insert(std::this_thread::get_id());
    });
    return ids.size();
  };
  CHECK(helpers() == 1);
  {
    const BackgroundThreads background;
    size_t most = 0;
    for (int i = 0; i < 100 && most < 2; ++i) most = std::max(most, helpers());
    CHECK(most == 2);
  }
  CHECK(helpers() == 1);
  release = true;
  other.join();
  set_num_threads(before);
}

TEST_CASE("a bounded queue hands everything over once and ends in order") {
  BoundedQueue<int> queue(4);
  std::atomic<int64_t> sum{0};
  std::vector<std::thread> consumers;
  for (int i = 0; i < 3; ++i) {
    consumers.emplace_back([&] {
      while (auto item = queue.pop()) sum += *item;
    });
  }
  std::vector<std::thread> producers;
  for (int p = 0; p < 2; ++p) {
    producers.emplace_back([&, p] {
      for (int i = 0; i < 1000; ++i) CHECK(queue.push(p * 1000 + i));
    });
  }
  for (auto& thread : producers) thread.join();
  queue.close();
  for (auto& thread : consumers) thread.join();
  CHECK(sum == int64_t{2000} * 1999 / 2);
  CHECK_FALSE(queue.push(1));
  CHECK_FALSE(queue.pop().has_value());
}
