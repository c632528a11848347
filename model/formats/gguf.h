// GGUF, the file format of llama.cpp: metadata, a table of tensors, then their data (ggml
// docs/gguf.md, versions 2 and 3). Files are untrusted: every length is checked against what is
// left of the file before it is used.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/files.h"

namespace zeroth {

// Types of tensor data that can be widened to float32 (numbers of ggml.h).
enum class GgmlType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4_K = 12,
  kQ5_K = 13,
  kQ6_K = 14,
  kBf16 = 30,
};

// Values of a block and its bytes. Throws Error naming `source` for a type that is not listed
// above.
struct GgmlBlock {
  int64_t values;
  int64_t bytes;
};
GgmlBlock ggml_block(uint32_t type, const std::string& source);

// Widens `count` values (a multiple of the block) exactly as ggml-quants.c of llama.cpp does.
void ggml_dequantize(GgmlType type, const std::byte* in, int64_t count, float* out);

// The inverse for F32, F16, BF16 (rounded to nearest even) and Q8_0 (as the reference code of
// ggml-quants.c rounds). `count` is a multiple of the block; other types throw Error.
void ggml_quantize(GgmlType type, const float* in, int64_t count, std::byte* out);

using GgufValue = std::variant<bool, uint64_t, int64_t, double, std::string, std::vector<double>,
                               std::vector<std::string>>;

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major: the file's dimensions in reverse
  GgmlType type;
  int64_t count = 0;
  uint64_t begin = 0, end = 0;  // bytes in the file
};

struct GgufContents {
  std::map<std::string, GgufValue> metadata;
  std::map<std::string, GgufTensor> tensors;

  // Typed access; a key of another type throws Error naming it. `source` is the file.
  bool has(const std::string& key) const { return metadata.contains(key); }
  std::string text(const std::string& key) const;  // required
  std::string text(const std::string& key, const std::string& fallback) const;
  int64_t number(const std::string& key) const;  // required, whole, 0 .. 2^53
  int64_t number(const std::string& key, int64_t fallback) const;
  double real(const std::string& key, double fallback) const;
  bool flag(const std::string& key, bool fallback) const;
  const std::vector<std::string>& texts(const std::string& key) const;  // required
  const std::vector<double>& numbers(const std::string& key) const;     // empty when absent

  std::string source;
};

// Throws Error naming `source` and what is malformed.
GgufContents parse_gguf(std::span<const std::byte> file, const std::string& source);

// One file, mapped into memory. Immutable and thread safe after construction.
class GgufFile {
 public:
  explicit GgufFile(const std::filesystem::path& path);
  const GgufContents& contents() const { return contents_; }
  // Widens values [first, first + count) of a tensor; both are multiples of its block. The bytes
  // never count as this process's memory.
  void read(const GgufTensor& tensor, int64_t first, int64_t count, float* out) const;

 private:
  MappedFile file_;
  GgufContents contents_;
};

}  // namespace zeroth
