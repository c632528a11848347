// The wire format of protocol buffers (encoding guide, "message structure"): a field is a key
// (number << 3 | wire type) and a value. A stranger's bytes are read within their bounds.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace zeroth {

enum class WireType : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

struct WireField {
  uint32_t number = 0;
  WireType type = WireType::kVarint;
  uint64_t value = 0;      // of all types but kBytes, as it is written
  std::string_view bytes;  // of kBytes: a text, bytes, a message or a run of numbers
};

// The fields of one message in the order of its bytes. Not thread safe. `bytes` outlive it.
class WireReader {
 public:
  explicit WireReader(std::string_view bytes) : bytes_(bytes) {}
  virtual ~WireReader() = default;

  // False at the end. Calls malformed() for what is cut off, of an unknown wire type or out of range.
  bool next(WireField& field);
  size_t position() const { return at_; }

  // Throws refuse()'s error.
  [[noreturn]] void malformed(const std::string& why) const;

 private:
  // Throws an error that says `why`, in the reader's own words.
  virtual void refuse(const std::string& why) const = 0;
  uint64_t varint();
  uint64_t fixed(size_t size);

  std::string_view bytes_;
  size_t at_ = 0;
};

// A message, field by field.
class WireWriter {
 public:
  void varint(uint32_t field, uint64_t value);
  void fixed32(uint32_t field, uint32_t bits);
  void fixed64(uint32_t field, uint64_t bits);
  void real(uint32_t field, double value) { fixed64(field, std::bit_cast<uint64_t>(value)); }
  void bytes(uint32_t field, std::string_view value);
  // The values as they lie in memory, little-endian.
  template <class T>
  void array(uint32_t field, std::span<const T> values) {
    bytes(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }
  const std::string& str() const { return out_; }

 private:
  void number(uint64_t value);
  void key(uint32_t field, WireType type) {
    number(uint64_t{field} << 3 | static_cast<uint32_t>(type));
  }
  std::string out_;
};

}  // namespace zeroth
