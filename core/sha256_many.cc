#include "core/sha256_many.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "core/parallel.h"
#include "core/sha256.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace zeroth {
namespace {

#if defined(__x86_64__)

constexpr size_t kBlock = 64;

alignas(16) constexpr uint32_t kRounds[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

// One message under way: the state as the instructions hold it, and what is left of the bytes.
struct Lane {
  __m128i abef, cdgh;
  const char* at = nullptr;
  size_t blocks = 0;  // that lie at `at` one behind the other
  size_t message = 0;
  bool padded = false;  // the last blocks are those of `tail`
  std::array<char, 2 * kBlock> tail = {};
  size_t tail_blocks = 0;
};

// `blocks` blocks of each of N messages.
template <int N>
__attribute__((target("sha,sse4.1,ssse3"))) void compress(const std::array<Lane*, N>& lanes,
                                                          size_t blocks) {
  const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
  __m128i abef[N], cdgh[N];
  for (int n = 0; n < N; ++n) {
    abef[n] = lanes[n]->abef;
    cdgh[n] = lanes[n]->cdgh;
  }
  for (size_t b = 0; b < blocks; ++b) {
    __m128i old_abef[N], old_cdgh[N], w[N][4];
    for (int n = 0; n < N; ++n) {
      old_abef[n] = abef[n];
      old_cdgh[n] = cdgh[n];
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {  // four rounds each
      const __m128i constants = _mm_load_si128(reinterpret_cast<const __m128i*>(kRounds) + i);
#pragma GCC unroll 2
      for (int n = 0; n < N; ++n) {
        __m128i& word = w[n][i % 4];
        if (i < 4) {
          word = _mm_shuffle_epi8(
              _mm_loadu_si128(reinterpret_cast<const __m128i*>(lanes[n]->at + b * kBlock) + i),
              swap);
        } else {
          const __m128i one = w[n][(i + 3) % 4], two = w[n][(i + 2) % 4], three = w[n][(i + 1) % 4];
          word = _mm_sha256msg2_epu32(
              _mm_add_epi32(_mm_sha256msg1_epu32(word, three), _mm_alignr_epi8(one, two, 4)), one);
        }
        const __m128i sum = _mm_add_epi32(word, constants);
        cdgh[n] = _mm_sha256rnds2_epu32(cdgh[n], abef[n], sum);
        abef[n] = _mm_sha256rnds2_epu32(abef[n], cdgh[n], _mm_shuffle_epi32(sum, 0x0e));
      }
    }
    for (int n = 0; n < N; ++n) {
      abef[n] = _mm_add_epi32(abef[n], old_abef[n]);
      cdgh[n] = _mm_add_epi32(cdgh[n], old_cdgh[n]);
    }
  }
  for (int n = 0; n < N; ++n) {
    lanes[n]->abef = abef[n];
    lanes[n]->cdgh = cdgh[n];
    lanes[n]->at += blocks * kBlock;
    lanes[n]->blocks -= blocks;
  }
}

void begin(Lane& lane, std::string_view text, size_t message) {
  lane.abef = _mm_setr_epi32(static_cast<int>(0x9b05688c), 0x510e527f, static_cast<int>(0xbb67ae85),
                             0x6a09e667);
  lane.cdgh = _mm_setr_epi32(0x5be0cd19, 0x1f83d9ab, static_cast<int>(0xa54ff53a), 0x3c6ef372);
  lane.at = text.data();
  lane.blocks = text.size() / kBlock;
  lane.message = message;
  lane.padded = false;
  // What does not fill a block, a bit, zeros, and the length in bits.
  const size_t rest = text.size() % kBlock;
  lane.tail = {};
  std::copy_n(text.data() + text.size() - rest, rest, lane.tail.data());
  lane.tail[rest] = static_cast<char>(0x80);
  lane.tail_blocks = rest + 9 <= kBlock ? 1 : 2;
  const size_t end = lane.tail_blocks * kBlock;
  const uint64_t bits = __builtin_bswap64(8 * static_cast<uint64_t>(text.size()));
  std::memcpy(lane.tail.data() + end - sizeof bits, &bits, sizeof bits);
}

// False: the message is done.
bool more(Lane& lane) {
  if (lane.blocks > 0) return true;
  if (lane.padded) return false;
  lane.padded = true;
  lane.at = lane.tail.data();
  lane.blocks = lane.tail_blocks;
  return true;
}

std::string hex_of(const Lane& lane) {
  uint32_t f[4], h[4];
  std::memcpy(f, &lane.abef, sizeof f);
  std::memcpy(h, &lane.cdgh, sizeof h);
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint32_t word : {f[3], f[2], h[3], h[2], f[1], f[0], h[1], h[0]}) {
    for (int shift = 28; shift >= 0; shift -= 4) text += kDigits[word >> shift & 15];
  }
  return text;
}

bool has_instructions() {
  static const bool has = [] {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kSha = 1u << 29, kSse41 = 1u << 19, kSsse3 = 1u << 9;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (b & kSha) == 0) return false;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & kSse41) != 0 && (c & kSsse3) != 0;
  }();
  return has;
}

// Takes messages by `next` until there is none, two at a time.
template <class Next>
void hash_pairs(const Next& next, std::span<const std::string_view> messages,
                std::vector<std::string>& hashes) {
  Lane first, second;
  const auto take = [&](Lane& lane) {
    const size_t i = next();
    if (i < messages.size()) begin(lane, messages[i], i);
    return i < messages.size();
  };
  bool one = take(first), two = take(second);
  while (one || two) {
    if (one && !more(first)) {
      hashes[first.message] = hex_of(first);
      one = take(first);
    } else if (two && !more(second)) {
      hashes[second.message] = hex_of(second);
      two = take(second);
    } else if (one && two) {
      compress<2>({&first, &second}, std::min(first.blocks, second.blocks));
    } else {
      Lane& alone = one ? first : second;
      compress<1>({&alone}, alone.blocks);
    }
  }
}

#endif

}  // namespace

std::vector<std::string> sha256_hex_many(std::span<const std::string_view> messages) {
  std::vector<std::string> hashes(messages.size());
  // Long ones first, so that no thread ends with one alone.
  std::vector<size_t> order(messages.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return messages[a].size() > messages[b].size(); });
  std::atomic<size_t> taken{0};
  const auto next = [&] {
    const size_t i = taken++;
    return i < order.size() ? order[i] : order.size();
  };
  parallel_for(num_threads(), 1, [&](int64_t, int64_t) {
#if defined(__x86_64__)
    if (has_instructions()) return hash_pairs(next, messages, hashes);
#endif
    for (size_t i = next(); i < order.size(); i = next()) hashes[i] = sha256_hex(messages[i]);
  });
  return hashes;
}

}  // namespace zeroth
