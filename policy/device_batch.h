// A batch where operators find it.
#pragma once

#include "kernels/device_array.h"
#include "policy/decode_step.h"
#include "policy/forward.h"

namespace zeroth {

// What the host says about a call, where operators find it.
struct DeviceBatch {
  kernels::View<const int32_t> tokens, positions, sequence, page_table, page_begin;
  kernels::View<const kernels::KvWrite> writes;
};
class StagedBatch {
 public:
  DecodeStep step;                  // one that is replayed,
  kernels::Array<float> last_rows;  // and its hidden rows, [rows, width]
  // Valid until the next call, and no longer than the batch.
  DeviceBatch put(const kernels::Device& device, const ForwardBatch& batch);

 private:
  kernels::Staged<int32_t> tokens_, positions_, sequence_, page_table_, page_begin_;
  kernels::Staged<kernels::KvWrite> writes_;
};

}  // namespace zeroth
