// As much of protocol buffers' wire format as the Tinker protocol needs: bytes of a stranger in,
// within their bounds; messages out.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace zeroth::tinker {

// The fields of one message in the order of its bytes. Not thread safe.
//
// Use: while (reader.next()) switch (reader.field()) { case 1: reader.bytes() .. }. A field that is
// not asked for is skipped.
class ProtoReader {
 public:
  // `bytes` outlive it; `what` is named in errors.
  ProtoReader(std::string_view bytes, const char* what) : rest_(bytes), what_(what) {}

  // False at the end. Throws Refusal for what is cut off or of an unknown wire type.
  bool next();
  uint32_t field() const { return field_; }

  // The value of the field; throws Refusal when it is written as another type.
  uint64_t varint() const;
  double real() const;             // of a double
  std::string_view bytes() const;  // of a text, of bytes or of a message
  std::string text() const { return std::string(bytes()); }
  // A repeated number may be written one by one, or all in one run of bytes.
  bool packed() const;

 private:
  uint64_t read_varint();
  std::string_view read_bytes(uint64_t size);
  [[noreturn]] void refuse(const std::string& why) const;

  std::string_view rest_;
  const char* what_;
  uint32_t field_ = 0, type_ = 0;
  uint64_t number_ = 0;
  std::string_view bytes_;
};

// A message, field by field.
class ProtoWriter {
 public:
  void varint(uint32_t field, uint64_t value);
  void real(uint32_t field, double value);
  void bytes(uint32_t field, std::string_view value);
  // The values as they lie in memory, little-endian.
  template <class T>
  void array(uint32_t field, std::span<const T> values) {
    bytes(field, {reinterpret_cast<const char*>(values.data()), values.size_bytes()});
  }
  const std::string& str() const { return out_; }

 private:
  void write_varint(uint64_t value);
  void tag(uint32_t field, uint32_t type) { write_varint(uint64_t{field} << 3 | type); }
  std::string out_;
};

}  // namespace zeroth::tinker
