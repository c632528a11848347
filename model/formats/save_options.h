// How a checkpoint is written.
#pragma once

#include <cstdint>

namespace zeroth {

struct SaveOptions {
  bool bfloat16 = false;                 // rounds to nearest even; default float32, lossless
  uint64_t shard_bytes = 5'000'000'000;  // larger checkpoints become several files with an index
};

}  // namespace zeroth
