#include "model/formats/safetensors.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "core/config.h"
#include "core/error.h"
#include "text/lfs_pointer.h"

namespace zeroth {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // as in the format's own reader
constexpr size_t kMaxRank = 16;
constexpr int64_t kMaxCount = int64_t{1} << 48;
static_assert(std::endian::native == std::endian::little, "tensor data is little-endian");

constexpr struct {
  const char* name;
  DType dtype;
  int bytes;
} kTypes[] = {
    {"F32", DType::kF32, 4},        {"F16", DType::kF16, 2},       {"BF16", DType::kBf16, 2},
    {"F8_E4M3", DType::kF8E4M3, 1}, {"F8_E5M2", DType::kOther, 1}, {"F8_E8M0", DType::kF8E8M0, 1},
    {"F64", DType::kF64, 8},        {"I64", DType::kOther, 8},     {"U64", DType::kOther, 8},
    {"I32", DType::kOther, 4},      {"U32", DType::kOther, 4},     {"I16", DType::kOther, 2},
    {"U16", DType::kOther, 2},      {"I8", DType::kOther, 1},      {"U8", DType::kOther, 1},
    {"BOOL", DType::kOther, 1}};

constexpr const char* kFix = "the file is damaged or not safetensors: fetch it again";

std::string named(std::string_view name) {
  // Names come from the file: keep messages short and printable.
  std::string text = "'";
  for (const char c : name.substr(0, 200)) {
    text += static_cast<unsigned char>(c) < 32 || c == 127 ? '?' : c;
  }
  return text + (name.size() > 200 ? "...'" : "'");
}

// Event reader of the header: {"name": {"dtype": "F32", "shape": [..], "data_offsets": [b, e]},
// "__metadata__": {..}}.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(std::string source) : source_(std::move(source)) {}
  std::vector<TensorEntry> take() { return std::move(entries_); }

  // Some writers give metadata as null.
  bool null() override {
    if (metadata_ && depth_ == 1) return true;
    return bad("a null");
  }
  bool boolean(bool) override { return bad("a boolean"); }
  bool number_float(double, const std::string&) override { return bad("a fraction"); }
  bool binary(nlohmann::json::binary_t&) override { return bad("binary data"); }
  bool number_integer(int64_t) override { return bad("a negative number"); }
  bool number_unsigned(uint64_t value) override {
    if (metadata_ || list_ == List::kNone) return bad("a number");
    if (list_ == List::kShape) {
      if (value > static_cast<uint64_t>(kMaxCount)) fail_tensor("has a size of 2^48 or more");
      if (entries_.back().shape.size() == kMaxRank) fail_tensor("has more than 16 dimensions");
      entries_.back().shape.push_back(static_cast<int64_t>(value));
    } else {
      if (offsets_ == 2) fail_tensor("has more than two data_offsets");
      (offsets_ == 0 ? entries_.back().begin : entries_.back().end) = value;
      ++offsets_;
    }
    return true;
  }
  bool string(std::string& value) override {
    if (metadata_ && depth_ == 2) return true;
    if (depth_ != 2 || key_ != "dtype" || list_ != List::kNone) return bad("a string");
    TensorEntry& entry = entries_.back();
    if (dtype_bytes(value) == 0) fail_tensor("has the unknown dtype " + named(value));
    for (const auto& type : kTypes) {
      if (value == type.name) entry.dtype = type.dtype;
    }
    entry.dtype_name = value;
    return true;
  }
  bool start_object(size_t) override {
    ++depth_;
    if (depth_ > 2 || list_ != List::kNone) return bad("nesting");
    if (depth_ == 2 && !metadata_) offsets_ = fields_ = 0;
    return true;
  }
  bool key(std::string& value) override {
    if (depth_ == 1) {
      if (!names_.insert(value).second) {
        fail(source_ + ": tensor " + named(value) + " appears twice", kFix);
      }
      metadata_ = value == "__metadata__";
      if (!metadata_) entries_.emplace_back().name = value;
      return true;
    }
    if (metadata_) return true;
    key_ = value;
    const int bit = value == "dtype" ? 1 : value == "shape" ? 2 : value == "data_offsets" ? 4 : 0;
    if (bit == 0) fail_tensor("has the unknown field " + named(value));
    if (fields_ & bit) fail_tensor("has the field " + named(value) + " twice");
    fields_ |= bit;
    return true;
  }
  bool end_object() override {
    if (depth_ == 2 && !metadata_ && (fields_ != 7 || offsets_ != 2)) {
      fail_tensor("lacks dtype, shape or data_offsets");
    }
    --depth_;
    if (depth_ == 1) metadata_ = false;
    return true;
  }
  bool start_array(size_t) override {
    if (depth_ != 2 || metadata_ || list_ != List::kNone) return bad("a list");
    if (key_ == "shape") {
      list_ = List::kShape;
    } else if (key_ == "data_offsets") {
      list_ = List::kOffsets;
    } else {
      return bad("a list");
    }
    return true;
  }
  bool end_array() override {
    list_ = List::kNone;
    return true;
  }
  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    fail(source_ + ": the header is not valid JSON at byte " + std::to_string(position), kFix);
  }

 private:
  enum class List { kNone, kShape, kOffsets };
  bool bad(const char* what) {
    fail(source_ + ": the header has " + what + " where " +
             (depth_ == 2 && !metadata_ ? "a field of tensor " + named(entries_.back().name)
                                        : "a tensor description") +
             " should be",
         kFix);
  }
  [[noreturn]] void fail_tensor(const std::string& what) {
    fail(source_ + ": tensor " + named(entries_.back().name) + " " + what, kFix);
  }

  std::string source_;
  std::vector<TensorEntry> entries_;
  std::unordered_set<std::string> names_;
  std::string key_;
  int depth_ = 0, fields_ = 0, offsets_ = 0;
  bool metadata_ = false;
  List list_ = List::kNone;
};

float widen_f16(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const int exponent = (half >> 10) & 31;
  const uint32_t mantissa = half & 1023;
  if (exponent == 0) {  // subnormal: mantissa * 2^-24, exact in float
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -value : value;
  }
  const uint32_t wide = exponent == 31 ? 255u : static_cast<uint32_t>(exponent + 112);
  return std::bit_cast<float>(sign | wide << 23 | mantissa << 13);
}

// 1 sign, 4 exponent bits with bias 7, 3 mantissa bits; no infinity, S.1111.111 is NaN.
float widen_e4m3(uint8_t byte) {
  const int exponent = (byte >> 3) & 15;
  const int mantissa = byte & 7;
  float value = 0;
  if (exponent == 15 && mantissa == 7) {
    value = std::bit_cast<float>(0x7fc00000u);
  } else if (exponent == 0) {
    value = static_cast<float>(mantissa) * 0x1p-9f;
  } else {
    value = std::ldexp(1.0f + static_cast<float>(mantissa) / 8, exponent - 7);
  }
  return byte & 128 ? -value : value;
}

float widen_e8m0(uint8_t byte) {
  return byte == 255 ? std::bit_cast<float>(0x7fc00000u) : std::ldexp(1.0f, byte - 127);
}

void check_offsets(std::vector<TensorEntry>& entries, uint64_t data_bytes,
                   const std::string& source) {
  for (const TensorEntry& entry : entries) {
    const auto complain = [&](const std::string& what) {
      fail(source + ": tensor " + named(entry.name) + " " + what, kFix);
    };
    uint64_t bytes = dtype_bytes(entry.dtype_name);
    for (const int64_t size : entry.shape) {
      if (size != 0 && bytes > static_cast<uint64_t>(kMaxCount) / size) {
        complain("has a shape whose product overflows");
      }
      bytes *= size;
    }
    if (entry.begin > entry.end || entry.end > data_bytes) {
      complain("has data_offsets [" + std::to_string(entry.begin) + ", " +
               std::to_string(entry.end) + "] outside the " + std::to_string(data_bytes) +
               " bytes of data (a truncated download?)");
    }
    if (entry.end - entry.begin != bytes) {
      complain("has " + std::to_string(entry.end - entry.begin) + " bytes of data, but its shape " +
               "and type need " + std::to_string(bytes));
    }
  }
  std::sort(entries.begin(), entries.end(), [](const TensorEntry& a, const TensorEntry& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end < b.end;
  });
  uint64_t at = 0;
  for (const TensorEntry& entry : entries) {
    if (entry.begin != at) {
      fail(source + ": tensor " + named(entry.name) + " begins at byte " +
               std::to_string(entry.begin) + " but the one before ends at " + std::to_string(at),
           kFix);
    }
    at = entry.end;
  }
  if (at != data_bytes) {
    fail(source + ": " + std::to_string(data_bytes - at) + " bytes behind the last tensor", kFix);
  }
}

}  // namespace

int64_t TensorEntry::count() const {
  int64_t n = 1;
  for (const int64_t size : shape) n *= size;
  return n;
}

int dtype_bytes(std::string_view name) {
  for (const auto& type : kTypes) {
    if (name == type.name) return type.bytes;
  }
  return 0;
}

std::vector<TensorEntry> parse_safetensors_header(std::string_view header, uint64_t data_bytes,
                                                  const std::string& source) {
  const size_t first = header.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || header[first] != '{') {
    fail(source + ": the header is not a JSON object", kFix);
  }
  HeaderReader reader(source);
  nlohmann::json::sax_parse(header.begin(), header.end(), &reader);
  std::vector<TensorEntry> entries = reader.take();
  check_offsets(entries, data_bytes, source);
  return entries;
}

std::vector<TensorEntry> check_safetensors(std::span<const std::byte> file, uint64_t& data_offset,
                                           const std::string& source) {
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  refuse_lfs_pointer(text, source);
  if (file.size() < 8) {
    fail(source + " has " + std::to_string(file.size()) + " bytes, too few for safetensors", kFix);
  }
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  if (length > kMaxHeader || length > file.size() - 8) {
    fail(source + ": the header claims " + std::to_string(length) + " bytes in a file of " +
             std::to_string(file.size()),
         kFix);
  }
  data_offset = 8 + length;
  const std::string_view header(reinterpret_cast<const char*>(file.data()) + 8, length);
  return parse_safetensors_header(header, file.size() - data_offset, source);
}

namespace {

// Opening a pipe would wait for a writer.
const std::filesystem::path& regular(const std::filesystem::path& path) {
  if (std::filesystem::exists(path) && !std::filesystem::is_regular_file(path)) {
    fail(path.string() + " is no regular file", "a file of safetensors belongs there");
  }
  return path;
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : path_(path), file_(regular(path)) {
  tensors_ = check_safetensors(file_.bytes(), data_, path.string());
}

void SafetensorsFile::read(const TensorEntry& tensor, int64_t first, std::span<float> out) const {
  const uint64_t width = dtype_bytes(tensor.dtype_name);
  const uint64_t at = data_ + tensor.begin + static_cast<uint64_t>(first) * width;
  if (tensor.dtype == DType::kF32) return file_.read(at, std::as_writable_bytes(out));
  // Piece by piece, so that a piece is still in the processor's cache when it is widened.
  constexpr size_t kPiece = size_t{1} << 17;
  thread_local std::vector<std::byte> piece(kPiece);
  for (size_t done = 0, n = 0; done < out.size(); done += n) {
    n = std::min(out.size() - done, kPiece / width);
    file_.read(at + done * width, std::span(piece).first(n * width));
    widen(tensor.dtype, piece.data(), static_cast<int64_t>(n), out.data() + done);
  }
}

void SafetensorsFile::read_bytes(const TensorEntry& tensor, int64_t first,
                                 std::span<std::byte> out) const {
  file_.read(data_ + tensor.begin + static_cast<uint64_t>(first), out);
}

void widen(DType dtype, const std::byte* in, int64_t count, float* out) {
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, in, count * sizeof(float));
      return;
    case DType::kF16:
    case DType::kBf16:
      for (int64_t i = 0; i < count; ++i) {
        uint16_t bits = 0;  // data need not be aligned
        std::memcpy(&bits, in + 2 * i, 2);
        out[i] = dtype == DType::kF16 ? widen_f16(bits)
                                      : std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
      }
      return;
    case DType::kF8E4M3:
      for (int64_t i = 0; i < count; ++i) out[i] = widen_e4m3(std::to_integer<uint8_t>(in[i]));
      return;
    case DType::kF8E8M0:
      for (int64_t i = 0; i < count; ++i) out[i] = widen_e8m0(std::to_integer<uint8_t>(in[i]));
      return;
    case DType::kF64:
      for (int64_t i = 0; i < count; ++i) {
        double value = 0;
        std::memcpy(&value, in + 8 * i, 8);
        out[i] = static_cast<float>(value);
      }
      return;
    case DType::kOther:
      fail("cannot read this tensor type as numbers", "use F32, F64, F16, BF16 or F8_E4M3");
  }
}

uint16_t to_bfloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

uint64_t TensorToWrite::bytes() const {
  uint64_t bytes = bfloat16 ? 2 : 4;
  for (const int64_t n : shape) bytes *= static_cast<uint64_t>(n);
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, std::span<const TensorToWrite> tensors) {
  Json header = Json::object();
  header["__metadata__"] = {{"format", "pt"}};  // transformers refuses files without it
  uint64_t at = 0;
  for (const TensorToWrite& tensor : tensors) {
    const uint64_t end = at + tensor.bytes();
    header[tensor.name] = {{"dtype", tensor.bfloat16 ? "BF16" : "F32"},
                           {"shape", tensor.shape},
                           {"data_offsets", {at, end}}};
    at = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t length = text.size();
  FileWriter out(path);
  out.write(&length, 8);
  out.write(text);
  std::vector<uint16_t> narrow;
  for (const TensorToWrite& tensor : tensors) {
    const std::span<const float> values = tensor.values();
    if (values.size() * (tensor.bfloat16 ? 2 : 4) != tensor.bytes())
      fail(tensor.name + " has " + std::to_string(values.size()) + " values for its shape");
    if (!tensor.bfloat16) {
      out.write(values.data(), values.size_bytes());
      continue;
    }
    narrow.resize(values.size());
    std::transform(values.begin(), values.end(), narrow.begin(), to_bfloat16);
    out.write(narrow.data(), narrow.size() * 2);
  }
  out.close();
}

}  // namespace zeroth
