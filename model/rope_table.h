// cos and sin of rotary position embeddings by absolute position.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "model/config.h"

namespace zeroth {

// Angular frequency of each pair [dim / 2], with the scaling of the config applied: llama3 as in
// Llama 3.1's own code, yarn by equations 17 to 23 of Peng et al., "YaRN", 2023, linear by Chen et
// al., "Position Interpolation", 2023, longrope by Ding et al., "LongRoPE", 2024, section 3.1.
std::vector<float> rope_frequencies(const RopeConfig& config, int dim);

// cos and sin of an angle >= 0 in radians, right to the last bits of float below 2^20. Own
// arithmetic, because the C library's last bits differ between processors, and these tables must be
// equal everywhere.
void cos_sin(double angle, float& cosine, float& sine);

class RopeTable {
 public:
  RopeTable(const RopeConfig& config, int dim, int max_position);

  struct Rows {
    int64_t positions = 0;
    std::vector<float> cos, sin;  // [positions, dim / 2]
  };
  // A table that covers positions 0 .. `positions` - 1; grows on demand. Thread safe.
  std::shared_ptr<const Rows> rows(int64_t positions) const;

 private:
  std::vector<float> frequencies_;
  double scale_ = 1;
  int64_t max_position_ = 0;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const Rows> rows_;
};

}  // namespace zeroth
