// Which problems a step trains on: draws without replacement, as a pure function of (seed, draw
// number).
#pragma once

#include <cstdint>

namespace zeroth {

// Position `place` of a random permutation of [0, size) that `seed` and `epoch` choose: a
// four-round Feistel network over the smallest even number of bits that covers size, with cycle
// walking (Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002). size
// in 1..2^62, place in [0, size). Costs a few random blocks, no table.
int64_t permuted(uint64_t seed, uint64_t epoch, int64_t place, int64_t size);

// Index of draw number `draw` (from 0) from a data set of `size` problems: every problem once per
// epoch, each epoch in an order of its own. Resuming needs only the number of draws made.
inline int64_t drawn_index(uint64_t seed, int64_t draw, int64_t size) {
  return permuted(seed, static_cast<uint64_t>(draw / size), draw % size, size);
}

}  // namespace zeroth
