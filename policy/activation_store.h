// Activations of rows that sampling computed, kept until training needs them. Sampling and training
// are one forward, so what the one has computed is, bit for bit, what the other would compute:
// Weights::recall takes it from here in place of a forward call.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/device_array.h"

namespace zeroth {

class Weights;

// Rows are numbered from 0 in the order of take(). Memory is taken as rows are and kept for the
// next begin(). Not thread safe; Weights::forward and Weights::recall only touch the rows they are
// given.
class ActivationStore {
 public:
  // Holds at most `max_bytes`.
  explicit ActivationStore(int64_t max_bytes);
  ~ActivationStore();

  // Forgets every row; the next ones are those of `weights`.
  void begin(const Weights& weights);
  // Whether the rows are those of `weights`.
  bool holds(const Weights& weights) const;
  // Number of a new row, or -1 when it would exceed max_bytes.
  int32_t take();
  // Changes with begin() and is never used twice in a process: numbers of other epochs are not
  // these rows. 0 before the first begin().
  int64_t epoch() const { return epoch_; }

  int64_t rows() const { return rows_; }
  int64_t row_bytes() const { return layer_begin_.back(); }
  // Where a layer's part of a row begins, and that of the layer below it ends; [layers + 1].
  int64_t layer_begin(int layer) const { return layer_begin_[layer]; }
  int64_t bytes() const;  // memory held now
  // Where a row lies, on the device of the weights.
  kernels::At<char> row(int32_t number) const;

 private:
  int64_t block_bytes() const;

  const int64_t max_bytes_;
  int64_t weights_id_ = 0, epoch_ = 0;
  std::vector<int64_t> layer_begin_ = {0};
  int64_t block_rows_ = 0, rows_ = 0;
  const kernels::Device* device_ = nullptr;
  std::vector<kernels::Array<char>> blocks_;
};

}  // namespace zeroth
