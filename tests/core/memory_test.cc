#include "core/memory.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <utility>

using namespace zeroth;

namespace {

size_t distance_to(const void* memory, size_t unit) {
  return reinterpret_cast<uintptr_t>(memory) % unit;
}

}  // namespace

TEST_CASE("arrays begin at cache lines, and from one large page on at a large page") {
  for (const size_t count : {size_t{1}, size_t{1000}, kLargePage / 4 - 1}) {
    CHECK(distance_to(allocate_array<float>(count).get(), 64) == 0);
  }
  for (const size_t count : {kLargePage / 4, kLargePage / 4 + 1, kLargePage}) {
    const Memory<float> array = allocate_array<float>(count);
    CHECK(distance_to(array.get(), kLargePage) == 0);
    std::fill_n(array.get(), count, 1.0f);
    CHECK(array.get()[count - 1] == 1.0f);
  }
}

TEST_CASE("an array that cannot be is refused, not cut short") {
  CHECK_THROWS_AS(allocate_array<double>(SIZE_MAX / 4), std::bad_alloc);
  CHECK_THROWS_AS(allocate(SIZE_MAX), std::bad_alloc);
  CHECK_THROWS_AS(allocate(SIZE_MAX / 2), std::bad_alloc);
  CHECK_THROWS_AS(ZeroedMemory(SIZE_MAX), std::bad_alloc);
  CHECK_THROWS_AS(ZeroedMemory(SIZE_MAX / 2), std::bad_alloc);
  CHECK(array_bytes(3, sizeof(float)) == 12);
}

TEST_CASE("zeroed memory is zero from its first byte to its last, and moves") {
  CHECK(ZeroedMemory(0).data() == nullptr);
  for (const size_t bytes : {size_t{4}, size_t{5000}, kLargePage, 2 * kLargePage + 4}) {
    ZeroedMemory memory(bytes);
    char* data = static_cast<char*>(memory.data());
    CHECK(distance_to(data, bytes >= kLargePage ? kLargePage : 64) == 0);
    CHECK(std::all_of(data, data + bytes, [](char c) { return c == 0; }));
    data[bytes - 1] = 7;
    ZeroedMemory other(4);
    other = std::move(memory);
    const ZeroedMemory last(std::move(other));
    CHECK(static_cast<char*>(last.data())[bytes - 1] == 7);
  }
}
