// The safetensors container: an 8-byte little-endian header length, a JSON header, raw tensor data.
// Files are untrusted: the header is parsed without recursion, and every number is checked before
// use.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/files.h"

namespace zeroth {

// What this reader can widen to float32; other types may stand in a file as long as nobody asks for
// their values.
enum class DType { kF32, kF64, kF16, kBf16, kF8E4M3, kF8E8M0, kOther };

struct TensorEntry {
  std::string name;
  DType dtype = DType::kOther;
  std::string dtype_name;
  std::vector<int64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes, from the start of the data part
  int64_t count() const;
};

// Parses the header text. Checked: known types, shapes whose product fits, offsets that cover the
// `data_bytes` of the data part without holes or overlaps and agree with shape and type, unique
// names, bounded depth. Entries come back in the order of their data. Throws Error that names
// `source` and the tensor.
std::vector<TensorEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                  const std::string& source);

// One file, mapped into memory. Immutable and thread safe after construction.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);
  const std::filesystem::path& path() const { return path_; }
  const std::vector<TensorEntry>& tensors() const { return tensors_; }
  // Widens values [first, first + out.size()) of a tensor, which must have as many; see widen().
  void read(const TensorEntry& tensor, int64_t first, std::span<float> out) const;
  // Bytes [first, first + out.size()) of a tensor of any type, as they are stored.
  void read_bytes(const TensorEntry& tensor, int64_t first, std::span<std::byte> out) const;

 private:
  std::filesystem::path path_;
  MappedFile file_;
  std::vector<TensorEntry> tensors_;
  uint64_t data_ = 0;  // where the data part begins
};

// Same checks on a file that is already in memory: header and data parts, for tests and fuzzing.
std::vector<TensorEntry> check_safetensors(std::span<const std::byte> file, uint64_t& data_offset,
                                           const std::string& source);

// Widens `count` values to float32: F16, BF16, F8_E4M3 and F8_E8M0 (2^(x - 127), 255 is NaN) are
// exact, F64 is rounded to nearest.
void widen(DType dtype, const std::byte* in, int64_t count, float* out);
// bfloat16, rounded to nearest even; NaN stays NaN.
uint16_t to_bfloat16(float value);

// Bytes of one value of the given safetensors type name, 0 when unknown.
int dtype_bytes(std::string_view name);

// Writes one file: tensors in the given order, the header padded to 8 bytes, and syncs it. Throws
// Error on a full disk.
struct TensorToWrite {
  TensorToWrite(std::string name, std::vector<int64_t> shape, std::span<const float> values,
                bool bfloat16 = false)
      : TensorToWrite(
            std::move(name), std::move(shape), [values] { return values; }, bfloat16) {}
  TensorToWrite(std::string name_in, std::vector<int64_t> shape_in,
                std::function<std::span<const float>()> values_in, bool bfloat16_in)
      : name(std::move(name_in)),
        shape(std::move(shape_in)),
        values(std::move(values_in)),
        bfloat16(bfloat16_in) {}

  std::string name;
  std::vector<int64_t> shape;
  // Called once, when it is written; what it returns is valid until the next tensor's call.
  std::function<std::span<const float>()> values;
  bool bfloat16 = false;  // else float32
  uint64_t bytes() const;
};
void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors);

}  // namespace zeroth
