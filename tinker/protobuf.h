// Messages of the Tinker protocol, field by field: core/protobuf.h, with types that are checked and
// errors that are answers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/protobuf.h"

namespace zeroth::tinker {

// The fields of one message in the order of its bytes. Not thread safe.
//
// Use: while (reader.next()) switch (reader.field()) { case 1: reader.bytes() .. }. A field that is
// not asked for is skipped.
class ProtoReader : private WireReader {
 public:
  // `bytes` outlive it; `what` is named in errors.
  ProtoReader(std::string_view bytes, const char* what) : WireReader(bytes), what_(what) {}

  // False at the end. Throws Refusal for what is cut off or of an unknown wire type.
  bool next() { return WireReader::next(field_); }
  uint32_t field() const { return field_.number; }

  // The value of the field; throws Refusal when it is written as another type.
  uint64_t varint() const;
  double real() const;             // of a double
  std::string_view bytes() const;  // of a text, of bytes or of a message
  std::string text() const { return std::string(bytes()); }
  // A repeated number may be written one by one, or all in one run of bytes.
  bool packed() const;

 private:
  void refuse(const std::string& why) const override;

  const char* what_;
  WireField field_;
};

}  // namespace zeroth::tinker
