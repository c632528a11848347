// Bounded reading of message fields: every reader names the field that is wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/json.h"

namespace zeroth::fleet {

// Throws Error (usage) when absent or of another type or range.
std::string text_field(const Json& json, const char* name, size_t most);
uint64_t uint_field(const Json& json, const char* name, uint64_t most);
double number_field(const Json& json, const char* name, double least, double most);
bool bool_field(const Json& json, const char* name);
const Json& array_field(const Json& json, const char* name, size_t most);
const Json& object_field(const Json& json, const char* name);
// Binary, or {"bytes": [..]} as JSON text has it.
std::vector<uint8_t> binary_field(const Json& json, const char* name, size_t most);

bool is_sha256(const std::string& text);

// Little-endian values as a binary field, and back; a length that is no multiple is an Error.
template <class T>
Json packed(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return Json::binary(std::move(bytes));
}
template <class T>
std::vector<T> unpacked(const Json& json, const char* name, size_t most) {
  const std::vector<uint8_t> bytes = binary_field(json, name, most * sizeof(T));
  if (bytes.size() % sizeof(T) != 0)
    fail_usage(std::string("field \"") + name + "\" is cut in a value");
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace zeroth::fleet
