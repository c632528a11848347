// MessagePack (msgpack.org), the bodies of what machines of one run say to each other.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/json.h"

namespace zeroth {

// What a reader of a stranger's bytes accepts: a value of a few bytes costs some tens in memory, so
// their number is bounded as well as the bytes (by the caller) and the levels.
struct MessageLimits {
  int depth = 16;
  int64_t values = int64_t{1} << 20;  // binary strings count as one, whatever their length
  int64_t members = 256;              // of one object
};

// Throws Error (usage) that names `source` for bytes that are no MessagePack, for values over a
// limit, for a key that an object has twice, and for bytes behind the value.
Json parse_message(std::string_view bytes, const std::string& source,
                   const MessageLimits& limits = {});
std::string pack_message(const Json& value);

}  // namespace zeroth
