// Any bytes as a GGUF file: an Error or contents whose tensors lie inside the file and widen, and
// whose metadata give a config or an Error.
#include <cstdint>
#include <vector>

#include "core/error.h"
#include "model/formats/gguf.h"
#include "model/formats/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(data), size);
  try {
    const zeroth::GgufContents contents = zeroth::parse_gguf(file, "fuzz");
    for (const auto& [name, tensor] : contents.tensors) {
      if (tensor.end > size || tensor.begin > tensor.end) __builtin_trap();
      std::vector<float> values(static_cast<size_t>(tensor.count));
      zeroth::ggml_dequantize(tensor.type, file.data() + tensor.begin, tensor.count, values.data());
    }
    zeroth::gguf_config(contents, {});
  } catch (const zeroth::Error&) {
  }
  return 0;
}
