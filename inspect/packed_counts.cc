#include "inspect/packed_counts.h"

#include <bit>

namespace zeroth {
namespace {

void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(0x80 | (value & 0x7f));
  out += static_cast<char>(value);
}

// False at the end of the bytes, or when a number has more than 64 bits.
bool take_varint(std::string_view& bytes, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

}  // namespace

std::string pack_counts(std::span<const uint64_t> counts) {
  uint64_t mask = 0;
  for (size_t i = 0; i < counts.size() && i < 64; ++i) {
    if (counts[i] != 0) mask |= uint64_t{1} << i;
  }
  std::string out;
  append_varint(out, mask);
  for (size_t i = 0; i < counts.size() && i < 64; ++i) {
    if (counts[i] != 0) append_varint(out, counts[i]);
  }
  return out;
}

uint64_t packed_count(std::string_view packed, int64_t index) {
  uint64_t mask = 0;
  if (index < 0 || index > 63 || !take_varint(packed, mask)) return 0;
  const uint64_t bit = uint64_t{1} << index;
  if ((mask & bit) == 0) return 0;
  uint64_t value = 0;
  for (int before = std::popcount(mask & (bit - 1)); before >= 0; --before) {
    if (!take_varint(packed, value)) return 0;
  }
  return value;
}

}  // namespace zeroth
