// Steps of decoding, which a back end may replay as a whole (kernels::Operators::replay): for that
// their rows are filled up to one of a few counts.
#pragma once

#include <vector>

#include "policy/forward.h"

namespace zeroth {

class DecodeStep {
 public:
  // Whether every row is the only one of its sequence, and writes its own keys alone.
  static bool is_one(const ForwardBatch& batch);
  // With how many rows such a step is computed: a power of two up to 16, then a multiple of 16.
  static int64_t rows_for(int64_t rows);
  // A number that no position of the batch reaches, one of a few: a power of two, at least 64.
  static int64_t bound_of(const ForwardBatch& batch);
  // The batch with rows_for() rows: behind its own the last one again, which writes nothing. Valid
  // until the next call, and no longer than `batch`.
  ForwardBatch fill(const ForwardBatch& batch);

 private:
  std::vector<TokenId> tokens_;
  std::vector<int32_t> positions_, sequence_;
  std::vector<kernels::KvWrite> writes_;
};

}  // namespace zeroth
