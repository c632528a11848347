#include "model/formats/gguf.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "text/lfs_pointer.h"

namespace zeroth {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF files are little-endian");

enum class ValueType : uint32_t {
  kUint8,
  kInt8,
  kUint16,
  kInt16,
  kUint32,
  kInt32,
  kFloat32,
  kBool,
  kString,
  kArray,
  kUint64,
  kInt64,
  kFloat64
};

// A cursor over the file that never leaves it.
class Cursor {
 public:
  Cursor(std::span<const std::byte> file, const std::string& source)
      : file_(file), source_(source) {}

  [[noreturn]] void malformed(const std::string& what) const {
    fail(source_ + ": not a GGUF file: " + what + " at byte " + std::to_string(at_),
         "the file may be cut off; fetch it again");
  }
  uint64_t left() const { return file_.size() - at_; }
  uint64_t at() const { return at_; }

  template <class T>
  T read() {
    if (left() < sizeof(T)) malformed("it ends inside a number");
    T value;
    std::memcpy(&value, file_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  std::string text() {
    const auto length = read<uint64_t>();
    if (length > left()) malformed("a text of " + std::to_string(length) + " bytes");
    std::string out(reinterpret_cast<const char*>(file_.data() + at_), length);
    at_ += length;
    return out;
  }

 private:
  std::span<const std::byte> file_;
  const std::string& source_;
  uint64_t at_ = 0;
};

GgufValue read_scalar(Cursor& in, ValueType type) {
  switch (type) {
    case ValueType::kUint8:
      return uint64_t{in.read<uint8_t>()};
    case ValueType::kInt8:
      return int64_t{in.read<int8_t>()};
    case ValueType::kUint16:
      return uint64_t{in.read<uint16_t>()};
    case ValueType::kInt16:
      return int64_t{in.read<int16_t>()};
    case ValueType::kUint32:
      return uint64_t{in.read<uint32_t>()};
    case ValueType::kInt32:
      return int64_t{in.read<int32_t>()};
    case ValueType::kFloat32:
      return double{in.read<float>()};
    case ValueType::kBool:
      return in.read<uint8_t>() != 0;
    case ValueType::kString:
      return in.text();
    case ValueType::kUint64:
      return in.read<uint64_t>();
    case ValueType::kInt64:
      return in.read<int64_t>();
    case ValueType::kFloat64:
      return in.read<double>();
    case ValueType::kArray:
      break;
  }
  in.malformed("value type " + std::to_string(static_cast<uint32_t>(type)));
}

double as_double(const GgufValue& value) {
  if (const auto* b = std::get_if<bool>(&value)) return *b ? 1 : 0;
  if (const auto* u = std::get_if<uint64_t>(&value)) return static_cast<double>(*u);
  if (const auto* i = std::get_if<int64_t>(&value)) return static_cast<double>(*i);
  return std::get<double>(value);
}

GgufValue read_array(Cursor& in) {
  const auto type = static_cast<ValueType>(in.read<uint32_t>());
  const auto length = in.read<uint64_t>();
  if (type == ValueType::kArray) in.malformed("a list of lists");
  const uint64_t least = type == ValueType::kString ? 8 : 1;  // bytes an element takes
  if (length > in.left() / least) {
    in.malformed("a list of " + std::to_string(length) + " elements");
  }
  if (type == ValueType::kString) {
    std::vector<std::string> texts;
    for (uint64_t i = 0; i < length; ++i) texts.push_back(in.text());
    return texts;
  }
  std::vector<double> numbers;
  for (uint64_t i = 0; i < length; ++i) numbers.push_back(as_double(read_scalar(in, type)));
  return numbers;
}

GgufTensor read_tensor_info(Cursor& in, const std::string& source) {
  GgufTensor tensor;
  tensor.name = in.text();
  const std::string name = source + ": tensor \"" + tensor.name + "\"";
  const auto dimensions = in.read<uint32_t>();
  if (dimensions < 1 || dimensions > 4) {
    fail(name + " has " + std::to_string(dimensions) + " dimensions", "1 to 4 are possible");
  }
  tensor.count = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    const auto size = in.read<uint64_t>();
    constexpr uint64_t kMaxCount = uint64_t{1} << 42;
    if (size == 0 || size > kMaxCount / static_cast<uint64_t>(tensor.count)) {
      fail(name + " has a dimension of " + std::to_string(size), "fetch the file again");
    }
    tensor.count *= static_cast<int64_t>(size);
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = in.read<uint32_t>();
  const GgmlBlock block = ggml_block(type, name);
  tensor.type = static_cast<GgmlType>(type);
  if (tensor.shape.back() % block.values != 0) {
    fail(name + " has rows of " + std::to_string(tensor.shape.back()) + " values in blocks of " +
             std::to_string(block.values),
         "fetch the file again");
  }
  tensor.begin = in.read<uint64_t>();
  tensor.end = static_cast<uint64_t>(tensor.count / block.values * block.bytes);
  return tensor;
}

// Offsets in the table count from the start of the data; turns them into offsets in the file.
void place_tensors(GgufContents& contents, uint64_t table_end, uint64_t file_size) {
  const int64_t alignment = contents.number("general.alignment", 32);
  if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) {
    fail(contents.source + ": general.alignment is " + std::to_string(alignment),
         "a power of two belongs there");
  }
  const auto step = static_cast<uint64_t>(alignment);
  const uint64_t data = (table_end + step - 1) / step * step;
  for (auto& [name, tensor] : contents.tensors) {
    const uint64_t bytes = tensor.end;
    if (data > file_size || tensor.begin > file_size - data ||
        bytes > file_size - data - tensor.begin) {
      fail(contents.source + ": the data of tensor \"" + name + "\" runs over the end of the file",
           "the file is cut off; fetch it again");
    }
    if (tensor.begin % step != 0) {
      fail(contents.source + ": the data of tensor \"" + name + "\" is not aligned",
           "fetch the file again");
    }
    tensor.begin += data;
    tensor.end = tensor.begin + bytes;
  }
}

}  // namespace

GgufContents parse_gguf(std::span<const std::byte> file, const std::string& source) {
  GgufContents contents;
  contents.source = source;
  Cursor in(file, source);
  refuse_lfs_pointer({reinterpret_cast<const char*>(file.data()), file.size()}, source);
  if (in.read<uint32_t>() != 0x46554747) in.malformed("it does not start with GGUF");
  const auto version = in.read<uint32_t>();
  if (version != 2 && version != 3) {
    fail(source + ": GGUF version " + std::to_string(version), "versions 2 and 3 can be read");
  }
  const auto tensors = in.read<uint64_t>();
  const auto pairs = in.read<uint64_t>();
  // An entry takes more than eight bytes, so larger counts cannot be true.
  if (tensors > in.left() / 8 || pairs > in.left() / 8) in.malformed("impossible counts");
  for (uint64_t i = 0; i < pairs; ++i) {
    std::string key = in.text();
    const auto type = static_cast<ValueType>(in.read<uint32_t>());
    GgufValue value = type == ValueType::kArray ? read_array(in) : read_scalar(in, type);
    if (!contents.metadata.emplace(key, std::move(value)).second) {
      fail(source + ": key \"" + key + "\" is given twice", "fetch the file again");
    }
  }
  for (uint64_t i = 0; i < tensors; ++i) {
    GgufTensor tensor = read_tensor_info(in, source);
    const std::string name = tensor.name;
    if (!contents.tensors.emplace(name, std::move(tensor)).second) {
      fail(source + ": tensor \"" + name + "\" is given twice", "fetch the file again");
    }
  }
  place_tensors(contents, in.at(), file.size());
  return contents;
}

namespace {

template <class T>
const T* typed(const GgufContents& contents, const std::string& key, const char* kind) {
  const auto it = contents.metadata.find(key);
  if (it == contents.metadata.end()) return nullptr;
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) {
    fail(contents.source + ": metadata \"" + key + "\" has the wrong type",
         std::string(kind) + " belongs there");
  }
  return value;
}

[[noreturn]] void missing(const GgufContents& contents, const std::string& key) {
  fail(contents.source + ": metadata \"" + key + "\" is missing",
       "convert the checkpoint with a current llama.cpp");
}

}  // namespace

std::string GgufContents::text(const std::string& key, const std::string& fallback) const {
  const auto* value = typed<std::string>(*this, key, "a text");
  return value == nullptr ? fallback : *value;
}

std::string GgufContents::text(const std::string& key) const {
  if (!has(key)) missing(*this, key);
  return text(key, "");
}

int64_t GgufContents::number(const std::string& key, int64_t fallback) const {
  const auto it = metadata.find(key);
  if (it == metadata.end()) return fallback;
  const auto* u = std::get_if<uint64_t>(&it->second);
  const auto* i = std::get_if<int64_t>(&it->second);
  constexpr int64_t kMax = int64_t{1} << 53;
  if (u != nullptr && *u <= uint64_t{kMax}) return static_cast<int64_t>(*u);
  if (i != nullptr && *i >= 0 && *i <= kMax) return *i;
  fail(source + ": metadata \"" + key + "\" is no count", "a whole number from 0 belongs there");
}

int64_t GgufContents::number(const std::string& key) const {
  if (!has(key)) missing(*this, key);
  return number(key, 0);
}

double GgufContents::real(const std::string& key, double fallback) const {
  const auto* value = typed<double>(*this, key, "a real number");
  if (value == nullptr) return fallback;
  if (!std::isfinite(*value)) fail(source + ": metadata \"" + key + "\" is not finite");
  return *value;
}

bool GgufContents::flag(const std::string& key, bool fallback) const {
  const auto* value = typed<bool>(*this, key, "true or false");
  return value == nullptr ? fallback : *value;
}

const std::vector<std::string>& GgufContents::texts(const std::string& key) const {
  const auto* value = typed<std::vector<std::string>>(*this, key, "a list of texts");
  if (value == nullptr) missing(*this, key);
  return *value;
}

const std::vector<double>& GgufContents::numbers(const std::string& key) const {
  static const std::vector<double> kNone;
  const auto* value = typed<std::vector<double>>(*this, key, "a list of numbers");
  return value == nullptr ? kNone : *value;
}

GgufFile::GgufFile(const std::filesystem::path& path)
    : file_(path), contents_(parse_gguf(file_.bytes(), path.string())) {}

void GgufFile::read(const GgufTensor& tensor, int64_t first, int64_t count, float* out) const {
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(tensor.type), tensor.name);
  if (first < 0 || count < 0 || first > tensor.count - count || first % block.values != 0 ||
      count % block.values != 0) {
    fail(contents_.source + ": tensor \"" + tensor.name + "\" cannot be read in such parts");
  }
  const uint64_t at = tensor.begin + static_cast<uint64_t>(first / block.values * block.bytes);
  if (tensor.type == GgmlType::kF32) {
    return file_.read(at, std::as_writable_bytes(std::span(out, static_cast<size_t>(count))));
  }
  // Piece by piece, so that a piece is still in the processor's cache when it is widened.
  constexpr int64_t kPiece = int64_t{1} << 16;  // values, a multiple of every block
  thread_local std::vector<std::byte> piece;
  for (int64_t done = 0; done < count; done += kPiece) {
    const int64_t n = std::min(kPiece, count - done);
    piece.resize(static_cast<size_t>(n / block.values * block.bytes));
    file_.read(at + static_cast<uint64_t>(done / block.values * block.bytes), piece);
    ggml_dequantize(tensor.type, piece.data(), n, out + done);
  }
}

}  // namespace zeroth
