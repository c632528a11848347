// Block formats of ggml (ggml-common.h, ggml-quants.c of llama.cpp). Every product and sum is taken
// in the order of that code, so the float32 values are its values.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "model/formats/gguf.h"
#include "model/formats/safetensors.h"

namespace zeroth {
namespace {

uint8_t byte_at(const std::byte* in, int64_t i) { return static_cast<uint8_t>(in[i]); }

int8_t signed_at(const std::byte* in, int64_t i) { return static_cast<int8_t>(in[i]); }

float half_at(const std::byte* in, int64_t i) {
  float value;
  widen(DType::kF16, in + i, 1, &value);
  return value;
}

uint32_t word_at(const std::byte* in, int64_t i) {
  uint32_t value;
  std::memcpy(&value, in + i, 4);
  return value;
}

void q4_0(const std::byte* in, float* out) {
  const float d = half_at(in, 0);
  for (int j = 0; j < 16; ++j) {
    const int q = byte_at(in, 2 + j);
    out[j] = static_cast<float>((q & 15) - 8) * d;
    out[j + 16] = static_cast<float>((q >> 4) - 8) * d;
  }
}

void q4_1(const std::byte* in, float* out) {
  const float d = half_at(in, 0), m = half_at(in, 2);
  for (int j = 0; j < 16; ++j) {
    const int q = byte_at(in, 4 + j);
    out[j] = static_cast<float>(q & 15) * d + m;
    out[j + 16] = static_cast<float>(q >> 4) * d + m;
  }
}

// The fifth bits of the 32 values stand in one word.
int fifth_bit(uint32_t high, int j) { return static_cast<int>(high >> j & 1) << 4; }

void q5_0(const std::byte* in, float* out) {
  const float d = half_at(in, 0);
  const uint32_t high = word_at(in, 2);
  for (int j = 0; j < 16; ++j) {
    const int q = byte_at(in, 6 + j);
    out[j] = static_cast<float>(((q & 15) | fifth_bit(high, j)) - 16) * d;
    out[j + 16] = static_cast<float>(((q >> 4) | fifth_bit(high, j + 16)) - 16) * d;
  }
}

void q5_1(const std::byte* in, float* out) {
  const float d = half_at(in, 0), m = half_at(in, 2);
  const uint32_t high = word_at(in, 4);
  for (int j = 0; j < 16; ++j) {
    const int q = byte_at(in, 8 + j);
    out[j] = static_cast<float>((q & 15) | fifth_bit(high, j)) * d + m;
    out[j + 16] = static_cast<float>((q >> 4) | fifth_bit(high, j + 16)) * d + m;
  }
}

void q8_0(const std::byte* in, float* out) {
  const float d = half_at(in, 0);
  for (int j = 0; j < 32; ++j) out[j] = static_cast<float>(signed_at(in, 2 + j)) * d;
}

// Six-bit scale and minimum of sub-block j (0..7), packed into twelve bytes.
struct ScaleMin {
  uint8_t scale, min;
};
ScaleMin scale_min(const std::byte* packed, int j) {
  const auto q = [&](int i) { return byte_at(packed, i); };
  if (j < 4) return {static_cast<uint8_t>(q(j) & 63), static_cast<uint8_t>(q(j + 4) & 63)};
  return {static_cast<uint8_t>((q(j + 4) & 15) | (q(j - 4) >> 6) << 4),
          static_cast<uint8_t>((q(j + 4) >> 4) | (q(j) >> 6) << 4)};
}

// Q4_K and Q5_K: eight sub-blocks of 32, in pairs that share bytes; `high` holds the fifth bits.
void q45_k(const std::byte* in, const std::byte* high, const std::byte* low, float* out) {
  const float d = half_at(in, 0), dmin = half_at(in, 2);
  for (int pair = 0; pair < 4; ++pair) {
    const ScaleMin a = scale_min(in + 4, 2 * pair), b = scale_min(in + 4, 2 * pair + 1);
    const float d1 = d * a.scale, m1 = dmin * a.min, d2 = d * b.scale, m2 = dmin * b.min;
    for (int l = 0; l < 32; ++l) {
      const int q = byte_at(low, pair * 32 + l);
      const int bits = high == nullptr ? 0 : byte_at(high, l) >> (2 * pair);
      out[pair * 64 + l] = d1 * static_cast<float>((q & 15) + ((bits & 1) << 4)) - m1;
      out[pair * 64 + 32 + l] = d2 * static_cast<float>((q >> 4) + ((bits & 2) << 3)) - m2;
    }
  }
}

void q6_k(const std::byte* in, float* out) {
  const float d = half_at(in, 208);
  for (int half = 0; half < 2; ++half) {
    const std::byte* low = in + 64 * half;
    const std::byte* high = in + 128 + 32 * half;
    const std::byte* scales = in + 192 + 8 * half;
    float* y = out + 128 * half;
    for (int l = 0; l < 32; ++l) {
      const int h = byte_at(high, l), a = byte_at(low, l), b = byte_at(low, l + 32);
      const int q[4] = {(a & 15) | (h & 3) << 4, (b & 15) | (h >> 2 & 3) << 4,
                        (a >> 4) | (h >> 4 & 3) << 4, (b >> 4) | (h >> 6 & 3) << 4};
      for (int k = 0; k < 4; ++k) {
        const float scale = d * static_cast<float>(signed_at(scales, l / 16 + 2 * k));
        y[l + 32 * k] = scale * static_cast<float>(q[k] - 32);
      }
    }
  }
}

// IEEE half precision, rounded to nearest even.
uint16_t to_float16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return sign | 0x7e00;   // NaN
  if (bits >= 0x477ff000) return sign | 0x7c00;  // from 65520 on: infinity
  if (bits < 0x38800000) {                       // below 2^-14: half's steps are 2^-24,
    float magnitude;                             // which are those of 0.5f
    std::memcpy(&magnitude, &bits, 4);
    magnitude += 0.5f;
    std::memcpy(&bits, &magnitude, 4);
    return sign | static_cast<uint16_t>(bits - 0x3f000000);
  }
  bits += 0xfff + (bits >> 13 & 1);
  return sign | static_cast<uint16_t>((bits - (112u << 23)) >> 13);
}

void put_half(std::byte* out, float value) {
  const uint16_t half = to_float16(value);
  std::memcpy(out, &half, 2);
}

void quantize_q8_0(const float* in, std::byte* out) {
  float largest = 0;
  for (int j = 0; j < 32; ++j) largest = std::max(largest, std::abs(in[j]));
  const float d = largest / 127;
  const float inverse = d > 0 ? 1 / d : 0;
  put_half(out, d);
  for (int j = 0; j < 32; ++j) {
    out[2 + j] = static_cast<std::byte>(static_cast<int8_t>(std::round(in[j] * inverse)));
  }
}

}  // namespace

void ggml_quantize(GgmlType type, const float* in, int64_t count, std::byte* out) {
  switch (type) {
    case GgmlType::kF32:
      std::memcpy(out, in, static_cast<size_t>(count) * 4);
      return;
    case GgmlType::kF16:
      for (int64_t i = 0; i < count; ++i) put_half(out + 2 * i, in[i]);
      return;
    case GgmlType::kBf16:
      for (int64_t i = 0; i < count; ++i) {
        const uint16_t narrow = to_bfloat16(in[i]);
        std::memcpy(out + 2 * i, &narrow, 2);
      }
      return;
    case GgmlType::kQ8_0:
      for (int64_t i = 0; i < count / 32; ++i) quantize_q8_0(in + 32 * i, out + 34 * i);
      return;
    default:
      fail("ggml type " + std::to_string(static_cast<uint32_t>(type)) + " cannot be written",
           "use F32, F16, BF16 or Q8_0");
  }
}

GgmlBlock ggml_block(uint32_t type, const std::string& source) {
  switch (static_cast<GgmlType>(type)) {
    case GgmlType::kF32:
      return {1, 4};
    case GgmlType::kF16:
      return {1, 2};
    case GgmlType::kBf16:
      return {1, 2};
    case GgmlType::kQ4_0:
      return {32, 18};
    case GgmlType::kQ4_1:
      return {32, 20};
    case GgmlType::kQ5_0:
      return {32, 22};
    case GgmlType::kQ5_1:
      return {32, 24};
    case GgmlType::kQ8_0:
      return {32, 34};
    case GgmlType::kQ4_K:
      return {256, 144};
    case GgmlType::kQ5_K:
      return {256, 176};
    case GgmlType::kQ6_K:
      return {256, 210};
  }
  fail(source + " has ggml type " + std::to_string(type) + ", which cannot be read",
       "use F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K");
}

void ggml_dequantize(GgmlType type, const std::byte* in, int64_t count, float* out) {
  if (type == GgmlType::kF32) return widen(DType::kF32, in, count, out);
  if (type == GgmlType::kF16) return widen(DType::kF16, in, count, out);
  if (type == GgmlType::kBf16) return widen(DType::kBf16, in, count, out);
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(type), "data");
  for (int64_t i = 0; i < count; i += block.values, in += block.bytes, out += block.values) {
    switch (type) {
      case GgmlType::kQ4_0:
        q4_0(in, out);
        break;
      case GgmlType::kQ4_1:
        q4_1(in, out);
        break;
      case GgmlType::kQ5_0:
        q5_0(in, out);
        break;
      case GgmlType::kQ5_1:
        q5_1(in, out);
        break;
      case GgmlType::kQ8_0:
        q8_0(in, out);
        break;
      case GgmlType::kQ4_K:
        q45_k(in, nullptr, in + 16, out);
        break;
      case GgmlType::kQ5_K:
        q45_k(in, in + 16, in + 48, out);
        break;
      case GgmlType::kQ6_K:
        q6_k(in, out);
        break;
      default:
        break;
    }
  }
}

}  // namespace zeroth
