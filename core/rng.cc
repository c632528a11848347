#include "core/rng.h"

#include <cmath>

namespace zeroth {
namespace {

// Constants of Philox4x32 (Salmon et al. 2011, table 2) and its Weyl key schedule.
constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
constexpr int kRounds = 10;

}  // namespace

std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 2> key, std::array<uint32_t, 4> c) {
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t p0 = uint64_t{kMultiplier0} * c[0];
    const uint64_t p1 = uint64_t{kMultiplier1} * c[2];
    c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ key[0], static_cast<uint32_t>(p1),
         static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += kWeyl0;
    key[1] += kWeyl1;
  }
  return c;
}

namespace {

std::array<uint32_t, 4> block(const StreamKey& key, uint32_t position) {
  return philox4x32({static_cast<uint32_t>(key.seed), static_cast<uint32_t>(key.seed >> 32)},
                    {position, key.sample, key.problem, key.step});
}

}  // namespace

uint32_t random_bits(const StreamKey& key, uint32_t position, int word) {
  return block(key, position)[word & 3];
}

float random_uniform(const StreamKey& key, uint32_t position, int word) {
  return static_cast<float>(random_bits(key, position, word) >> 8) * 0x1.0p-24f;
}

uint32_t Rng::bits() {
  if (used_ == 4) {
    block_ = block(key_, position_++);
    used_ = 0;
  }
  return block_[used_++];
}

uint32_t Rng::below(uint32_t n) {
  // Lemire's multiply-shift with rejection of the biased low part.
  uint64_t product = uint64_t{bits()} * n;
  const uint32_t threshold = (0u - n) % n;
  while (static_cast<uint32_t>(product) < threshold) product = uint64_t{bits()} * n;
  return static_cast<uint32_t>(product >> 32);
}

double Rng::uniform() {
  const uint64_t high = bits() >> 5, low = bits() >> 6;  // 27 + 26 bits
  return static_cast<double>((high << 26) | low) * 0x1.0p-53;
}

double Rng::normal() {
  const double u = 1.0 - uniform();  // (0, 1]
  const double v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * M_PI * v);
}

}  // namespace zeroth
