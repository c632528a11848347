// Samples that have to be the same in every bit.
#pragma once

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "core/trajectory.h"

namespace zeroth {

using Results = std::vector<std::vector<Sample>>;

template <class T>
bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

inline void check_same(const Sample& a, const Sample& b) {
  CHECK(a.key == b.key);
  CHECK(a.tokens == b.tokens);
  CHECK(same_bytes(a.logprobs, b.logprobs));
  CHECK(same_bytes(a.entropies, b.entropies));
  CHECK(a.kept_ids == b.kept_ids);
  CHECK(a.kept_offsets == b.kept_offsets);
  CHECK(a.experts == b.experts);
  CHECK(a.prompt_experts == b.prompt_experts);
  CHECK(a.router_confidence == b.router_confidence);
  CHECK(a.versions == b.versions);
  CHECK(a.finish == b.finish);
  CHECK(a.text == b.text);
}

inline void check_same(const Results& a, const Results& b) {
  REQUIRE(a.size() == b.size());
  for (size_t r = 0; r < a.size(); ++r) {
    REQUIRE(a[r].size() == b[r].size());
    for (size_t s = 0; s < a[r].size(); ++s) {
      CAPTURE(r);
      CAPTURE(s);
      check_same(a[r][s], b[r][s]);
    }
  }
}

}  // namespace zeroth
