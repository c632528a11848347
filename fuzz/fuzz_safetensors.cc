// libFuzzer: any bytes are either a sound safetensors file or an Error, and what is called sound
// can be read whole.
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "model/formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  try {
    uint64_t offset = 0;
    for (const zeroth::TensorEntry& entry : zeroth::check_safetensors(file, offset, "input")) {
      if (entry.dtype == zeroth::DType::kOther) continue;
      std::vector<float> values(entry.count());
      zeroth::widen(entry.dtype, file.data() + offset + entry.begin, entry.count(), values.data());
    }
  } catch (const zeroth::Error&) {
  }
  return 0;
}
