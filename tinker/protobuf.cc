#include "tinker/protobuf.h"

#include <cstring>

#include "tinker/messages.h"

namespace zeroth::tinker {
namespace {

constexpr uint32_t kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5;

}  // namespace

void ProtoReader::refuse(const std::string& why) const {
  throw Refusal{400, std::string(what_) + " is no such message: " + why};
}

uint64_t ProtoReader::read_varint() {
  uint64_t value = 0;
  for (int shift = 0; shift < 64; shift += 7) {
    if (rest_.empty()) refuse("it is cut off");
    const auto byte = static_cast<unsigned char>(rest_.front());
    rest_.remove_prefix(1);
    value |= uint64_t{byte & 0x7fu} << shift;
    if ((byte & 0x80) == 0) return value;
  }
  refuse("a number has more than 64 bits");
}

std::string_view ProtoReader::read_bytes(uint64_t size) {
  if (size > rest_.size()) refuse("it is cut off");
  const std::string_view out = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return out;
}

bool ProtoReader::next() {
  if (rest_.empty()) return false;
  const uint64_t tag = read_varint();
  field_ = static_cast<uint32_t>(tag >> 3);
  type_ = static_cast<uint32_t>(tag & 7);
  if (tag >> 3 == 0 || tag >> 32 != 0) refuse("there is no field " + std::to_string(tag >> 3));
  bytes_ = {};
  switch (type_) {
    case kVarint:
      number_ = read_varint();
      break;
    case kBytes:
      bytes_ = read_bytes(read_varint());
      break;
    case kFixed64:
    case kFixed32: {
      const std::string_view raw = read_bytes(type_ == kFixed64 ? 8 : 4);
      number_ = 0;
      std::memcpy(&number_, raw.data(), raw.size());
      break;
    }
    default:
      refuse("wire type " + std::to_string(type_));
  }
  return true;
}

uint64_t ProtoReader::varint() const {
  if (type_ != kVarint) refuse("field " + std::to_string(field_) + " is no whole number");
  return number_;
}

double ProtoReader::real() const {
  if (type_ != kFixed64) refuse("field " + std::to_string(field_) + " is no double");
  double out;
  std::memcpy(&out, &number_, sizeof out);
  return out;
}

std::string_view ProtoReader::bytes() const {
  if (type_ != kBytes) refuse("field " + std::to_string(field_) + " is neither text nor message");
  return bytes_;
}

bool ProtoReader::packed() const { return type_ == kBytes; }

void ProtoWriter::write_varint(uint64_t value) {
  while (value >= 0x80) {
    out_.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out_.push_back(static_cast<char>(value));
}

void ProtoWriter::varint(uint32_t field, uint64_t value) {
  tag(field, kVarint);
  write_varint(value);
}

void ProtoWriter::real(uint32_t field, double value) {
  tag(field, kFixed64);
  out_.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void ProtoWriter::bytes(uint32_t field, std::string_view value) {
  tag(field, kBytes);
  write_varint(value.size());
  out_.append(value);
}

}  // namespace zeroth::tinker
