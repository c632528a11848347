// Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011, section 3.3). A draw is a pure function of (key, counter), so no state has to
// be saved, and the order in which workers, batches or threads ask cannot change a sample.
#pragma once

#include <array>
#include <cstdint>

namespace zeroth {

// The raw block cipher: 128 random bits for a 64-bit key and a 128-bit counter.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 2> key, std::array<uint32_t, 4> counter);

// Names one stream of draws: a sample of a problem at a training step of a seeded run. The position
// of a token inside the sample is the counter within the stream.
struct StreamKey {
  uint64_t seed = 0;
  uint32_t step = 0;
  uint32_t problem = 0;
  uint32_t sample = 0;
  bool operator==(const StreamKey&) const = default;
};

// 32 random bits, word `word` (0..3) of the block for (key, position).
uint32_t random_bits(const StreamKey& key, uint32_t position, int word = 0);

// Uniform in [0, 1): 24 random bits / 2^24, exact in float.
float random_uniform(const StreamKey& key, uint32_t position, int word = 0);

// A sequential view of one stream for code that draws many numbers (corpora, initialisation,
// shuffles). Not thread safe; copy it to fork.
class Rng {
 public:
  explicit Rng(const StreamKey& key) : key_(key) {}
  Rng(uint64_t seed, uint32_t stream) : key_{seed, stream, 0, 0} {}
  uint32_t bits();
  // Uniform integer in [0, n), n >= 1, without modulo bias.
  uint32_t below(uint32_t n);
  // Uniform in [0, 1) with 53 random bits.
  double uniform();
  // Standard normal (Box-Muller on two uniforms).
  double normal();
  bool chance(double probability) { return uniform() < probability; }

 private:
  StreamKey key_;
  uint32_t position_ = 0;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

}  // namespace zeroth
