#include "core/protobuf.h"

#include <cstdlib>

namespace zeroth {

bool WireReader::next(WireField& field) {
  if (at_ == bytes_.size()) return false;
  const uint64_t key = varint();
  if (key >> 3 == 0 || key >> 3 > 0x1fffffff) malformed("a field number out of range");
  field = {static_cast<uint32_t>(key >> 3), static_cast<WireType>(key & 7), 0, {}};
  switch (field.type) {
    case WireType::kVarint:
      field.value = varint();
      return true;
    case WireType::kFixed64:
      field.value = fixed(8);
      return true;
    case WireType::kFixed32:
      field.value = fixed(4);
      return true;
    case WireType::kBytes: {
      const uint64_t length = varint();
      if (length > bytes_.size() - at_) malformed("a field that is cut off");
      field.bytes = bytes_.substr(at_, length);
      at_ += length;
      return true;
    }
  }
  malformed("wire type " + std::to_string(key & 7));
}

void WireReader::malformed(const std::string& why) const {
  refuse(why);
  std::abort();  // refuse() throws
}

uint64_t WireReader::varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (at_ == bytes_.size()) malformed("a number that is cut off");
    const auto byte = static_cast<unsigned char>(bytes_[at_++]);
    if (shift < 64) value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) == 0) return value;
  }
  malformed("a number of more than ten bytes");
}

uint64_t WireReader::fixed(size_t size) {
  if (bytes_.size() - at_ < size) malformed("a number that is cut off");
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i)
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes_[at_ + i])) << (8 * i);
  at_ += size;
  return value;
}

void WireWriter::number(uint64_t value) {
  for (; value >= 0x80; value >>= 7) out_ += static_cast<char>(0x80 | (value & 0x7f));
  out_ += static_cast<char>(value);
}

void WireWriter::varint(uint32_t field, uint64_t value) {
  key(field, WireType::kVarint);
  number(value);
}

void WireWriter::fixed32(uint32_t field, uint32_t bits) {
  key(field, WireType::kFixed32);
  for (int i = 0; i < 4; ++i) out_ += static_cast<char>(bits >> (8 * i) & 0xff);
}

void WireWriter::fixed64(uint32_t field, uint64_t bits) {
  key(field, WireType::kFixed64);
  for (int i = 0; i < 8; ++i) out_ += static_cast<char>(bits >> (8 * i) & 0xff);
}

void WireWriter::bytes(uint32_t field, std::string_view value) {
  key(field, WireType::kBytes);
  number(value.size());
  out_ += value;
}

}  // namespace zeroth
