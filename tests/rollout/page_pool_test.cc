#include "rollout/page_pool.h"

#include <doctest/doctest.h>

#include <map>
#include <random>
#include <set>
#include <stdexcept>

namespace zeroth {
namespace {

TEST_CASE("pages are handed out until none is left") {
  PagePool pool(3);
  std::set<int32_t> pages = {pool.allocate(), pool.allocate(), pool.allocate()};
  CHECK(pages == std::set<int32_t>{0, 1, 2});
  CHECK(pool.free_pages() == 0);
  CHECK(pool.allocate() == -1);
  pool.release(1);
  CHECK(pool.free_pages() == 1);
  CHECK(pool.allocate() == 1);
}

TEST_CASE("a shared page is free only after its last owner") {
  PagePool pool(1);
  const int32_t page = pool.allocate();
  pool.retain(page);
  CHECK(pool.references(page) == 2);
  pool.release(page);
  CHECK(pool.allocate() == -1);
  pool.release(page);
  CHECK(pool.free_pages() == 1);
  CHECK(pool.references(page) == 0);
}

TEST_CASE("a wrong count is a defect, not silence") {
  PagePool pool(2);
  const int32_t page = pool.allocate();
  pool.release(page);
  CHECK_THROWS_AS(pool.release(page), std::logic_error);
  CHECK_THROWS_AS(pool.retain(page), std::logic_error);
  CHECK_THROWS_AS(pool.release(7), std::logic_error);
  CHECK_THROWS_AS(PagePool(-1), std::logic_error);
}

TEST_CASE("random owners never share by accident and leak nothing") {
  std::mt19937 random(3);
  PagePool pool(20);
  std::map<int32_t, int32_t> owners;  // page -> references, as the pool should count them
  for (int i = 0; i < 20000; ++i) {
    CHECK(pool.free_pages() == 20 - static_cast<int64_t>(owners.size()));
    const auto any = [&] { return std::next(owners.begin(), random() % owners.size()); };
    const unsigned action = random() % 4;
    if (action == 0) {
      const int32_t page = pool.allocate();
      CHECK((page < 0) == (owners.size() == 20));
      if (page >= 0) CHECK(owners.emplace(page, 1).second);
    } else if (!owners.empty() && action == 1) {
      const auto owner = any();
      pool.retain(owner->first);
      ++owner->second;
    } else if (!owners.empty()) {
      const auto owner = any();
      pool.release(owner->first);
      CHECK(pool.references(owner->first) == owner->second - 1);
      if (--owner->second == 0) owners.erase(owner);
    }
  }
}

}  // namespace
}  // namespace zeroth
