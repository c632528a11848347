// CRC-32C (Castagnoli, reflected polynomial 0x82F63B78; RFC 3720 appendix B.4), the checksum of the
// trace store and of TensorBoard's record files.
#pragma once

#include <cstddef>
#include <cstdint>

namespace zeroth {

// CRC of `size` bytes, continuing from `crc` (the value returned for what came before; 0 at the
// start).
uint32_t crc32c(const void* data, size_t size, uint32_t crc = 0);

}  // namespace zeroth
