#include "rollout/fleet/fields.h"

#include <cmath>

namespace zeroth::fleet {
namespace {

[[noreturn]] void fail_field(const char* name, const std::string& what) {
  fail_usage(std::string("field \"") + name + "\" " + what,
             "send what this version's documentation describes");
}

const Json& member(const Json& json, const char* name) {
  if (!json.is_object()) fail_usage("the message is no object");
  const auto found = json.find(name);
  if (found == json.end()) fail_field(name, "is missing");
  return *found;
}

}  // namespace

std::string text_field(const Json& json, const char* name, size_t most) {
  const Json& value = member(json, name);
  if (!value.is_string()) fail_field(name, "is no text");
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > most)
    fail_field(name, "has " + std::to_string(text.size()) + " bytes, and at most " +
                         std::to_string(most) + " are read");
  return text;
}

uint64_t uint_field(const Json& json, const char* name, uint64_t most) {
  const Json& value = member(json, name);
  if (!value.is_number_integer() || (!value.is_number_unsigned() && value.get<int64_t>() < 0))
    fail_field(name, "is no whole number from 0 on");
  const auto number = value.get<uint64_t>();
  if (number > most) fail_field(name, "is over " + std::to_string(most));
  return number;
}

double number_field(const Json& json, const char* name, double least, double most) {
  const Json& value = member(json, name);
  if (!value.is_number()) fail_field(name, "is no number");
  const double number = value.get<double>();
  if (!(number >= least && number <= most))  // false for NaN
    fail_field(name, "is not from " + std::to_string(least) + " to " + std::to_string(most));
  return number;
}

bool bool_field(const Json& json, const char* name) {
  const Json& value = member(json, name);
  if (!value.is_boolean()) fail_field(name, "is neither true nor false");
  return value.get<bool>();
}

const Json& array_field(const Json& json, const char* name, size_t most) {
  const Json& value = member(json, name);
  if (!value.is_array()) fail_field(name, "is no list");
  if (value.size() > most) fail_field(name, "has more than " + std::to_string(most) + " elements");
  return value;
}

const Json& object_field(const Json& json, const char* name) {
  const Json& value = member(json, name);
  if (!value.is_object()) fail_field(name, "is no object");
  return value;
}

std::vector<uint8_t> binary_field(const Json& json, const char* name, size_t most) {
  const Json& value = member(json, name);
  std::vector<uint8_t> out;
  if (value.is_binary()) {
    const auto& bytes = value.get_binary();
    out.assign(bytes.begin(), bytes.end());
  } else {
    if (!value.is_object()) fail_field(name, "is no binary string");
    for (const Json& byte : array_field(value, "bytes", most)) {
      if (!byte.is_number_unsigned() || byte.get<uint64_t>() > 255)
        fail_field(name, "holds something that is no byte");
      out.push_back(byte.get<uint8_t>());
    }
  }
  if (out.size() > most)
    fail_field(name, "has " + std::to_string(out.size()) + " bytes, and at most " +
                         std::to_string(most) + " are read");
  return out;
}

bool is_sha256(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace zeroth::fleet
