#include "tinker/protobuf.h"

#include <bit>

#include "tinker/messages.h"

namespace zeroth::tinker {

void ProtoReader::refuse(const std::string& why) const {
  throw Refusal{400, std::string(what_) + " is no such message: " + why};
}

uint64_t ProtoReader::varint() const {
  if (field_.type != WireType::kVarint)
    malformed("field " + std::to_string(field()) + " is no whole number");
  return field_.value;
}

double ProtoReader::real() const {
  if (field_.type != WireType::kFixed64)
    malformed("field " + std::to_string(field()) + " is no double");
  return std::bit_cast<double>(field_.value);
}

std::string_view ProtoReader::bytes() const {
  if (field_.type != WireType::kBytes)
    malformed("field " + std::to_string(field()) + " is neither text nor message");
  return field_.bytes;
}

bool ProtoReader::packed() const { return field_.type == WireType::kBytes; }

}  // namespace zeroth::tinker
