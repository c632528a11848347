// Builds a JSON value from a parser's events, of text or of MessagePack, within bounds. For the two
// readers in core/json.cc and core/message_pack.cc. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/json_text.h"

namespace zeroth {

// What a builder refuses besides what the parser does.
struct JsonRules {
  JsonBounds bounds;
  size_t members = SIZE_MAX;  // of one object
  bool unique_keys = false;   // otherwise the last of equal keys counts
};

// The parser itself keeps no stack in memory that calls share; refusing the level that is too deep
// is all that bounds the depth of the value, and for MessagePack the parser's own stack.
class JsonBuilder : public nlohmann::json_sax<Json> {
 public:
  explicit JsonBuilder(const JsonRules& rules) : rules_(rules) {}

  Json take() { return std::move(root_); }
  // What the value is over.
  enum class Over { kNone, kDepth, kValues, kMembers, kEqualKeys };
  Over over() const { return over_; }
  // The parser's words, and the byte at which it saw the error: 0 where it has no place (a number
  // out of range).
  const std::string& reason() const { return reason_; }
  size_t error_byte() const { return error_byte_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t& value) override { return add(Json::binary(std::move(value))); }
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    levels_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception& error) override;

 private:
  struct Level {
    Json value;
    std::string key;                                // of the member that comes next
    std::unordered_map<std::string, size_t> index;  // key -> place, once there are many
  };

  bool refuse(Over over) {
    over_ = over;
    return false;
  }
  bool open(Json&& empty);
  bool close();
  bool add(Json value);
  bool add_member(Level& level, Json&& value);

  const JsonRules rules_;
  size_t values_ = 0;
  Json root_;
  std::vector<Level> levels_;  // the open objects and arrays
  Over over_ = Over::kNone;
  std::string reason_;
  size_t error_byte_ = 0;
};

}  // namespace zeroth
