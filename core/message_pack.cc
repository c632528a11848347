#include "core/message_pack.h"

#include <utility>

#include "core/error.h"
#include "core/json_builder.h"

namespace zeroth {
namespace {

std::string reason_of(const JsonBuilder& builder, const MessageLimits& limits) {
  switch (builder.over()) {
    case JsonBuilder::Over::kDepth:
      return "it is nested more than " + std::to_string(limits.depth) + " deep";
    case JsonBuilder::Over::kValues:
      return "it holds more than " + std::to_string(limits.values) + " values";
    case JsonBuilder::Over::kMembers:
      return "an object has more than " + std::to_string(limits.members) + " members";
    case JsonBuilder::Over::kEqualKeys:
      return "a key stands twice in an object";
    case JsonBuilder::Over::kNone:
      break;
  }
  return "it is cut or malformed at byte " + std::to_string(builder.error_byte());
}

}  // namespace

Json parse_message(std::string_view bytes, const std::string& source, const MessageLimits& limits) {
  JsonBuilder builder({.bounds = {limits.depth, static_cast<size_t>(limits.values)},
                       .members = static_cast<size_t>(limits.members),
                       .unique_keys = true});
  if (Json::sax_parse(bytes.begin(), bytes.end(), &builder, Json::input_format_t::msgpack))
    return builder.take();
  fail_usage(source + ": not a MessagePack value: " + reason_of(builder, limits),
             "send what this version's documentation describes");
}

std::string pack_message(const Json& value) {
  std::string out;
  Json::to_msgpack(value, nlohmann::detail::output_adapter<char>(out));
  return out;
}

}  // namespace zeroth
