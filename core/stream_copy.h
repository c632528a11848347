// Copies that go past the caches: for bytes that are read again only after many others.
#pragma once

#include <cstdint>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace zeroth {

// Copies `bytes` to `to`, which is aligned to 16 bytes; whole cache lines at `to` are best. Another
// thread may read them after stream_fence() and the usual synchronisation.
inline void stream_copy(char* to, const char* from, int64_t bytes) {
  int64_t i = 0;
#if defined(__SSE2__)
  for (; i + 64 <= bytes; i += 64) {
    const auto* in = reinterpret_cast<const __m128i*>(from + i);
    auto* out = reinterpret_cast<__m128i*>(to + i);
    const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1);
    const __m128i c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
#endif
  std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}

// After the last stream_copy() of a thread.
inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace zeroth
