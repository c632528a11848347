#include "core/message_pack.h"

#include <utility>
#include <vector>

#include "core/error.h"

namespace zeroth {
namespace {

// The parser asks before it goes down a level, so refusing bounds its own stack too.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const MessageLimits& limits) : limits_(limits), left_(limits.values) {}

  Json take() { return std::move(root_); }
  const std::string& reason() const { return reason_; }

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
    Json& object = levels_.back().value;
    if (static_cast<int64_t>(object.size()) >= limits_.members)
      return refuse("an object has more than " + std::to_string(limits_.members) + " members");
    if (object.contains(name)) return refuse("a key stands twice in an object");
    levels_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception&) override {
    return refuse("it is cut or malformed at byte " + std::to_string(byte));
  }

 private:
  struct Level {
    Json value;
    std::string key;
  };

  bool refuse(const std::string& why) {
    if (reason_.empty()) reason_ = why;
    return false;
  }
  bool open(Json&& empty) {
    if (levels_.size() >= static_cast<size_t>(limits_.depth))
      return refuse("it is nested more than " + std::to_string(limits_.depth) + " deep");
    levels_.push_back({std::move(empty), {}});
    return true;
  }
  bool close() {
    Json value = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(value));
  }
  bool add(Json value) {
    if (--left_ < 0)
      return refuse("it holds more than " + std::to_string(limits_.values) + " values");
    if (levels_.empty()) {
      root_ = std::move(value);
    } else if (levels_.back().value.is_array()) {
      levels_.back().value.push_back(std::move(value));
    } else {
      levels_.back().value[levels_.back().key] = std::move(value);
    }
    return true;
  }

  MessageLimits limits_;
  int64_t left_;
  std::vector<Level> levels_;
  Json root_;
  std::string reason_;
};

}  // namespace

Json parse_message(std::string_view bytes, const std::string& source, const MessageLimits& limits) {
  Builder builder(limits);
  if (Json::sax_parse(bytes.begin(), bytes.end(), &builder, Json::input_format_t::msgpack))
    return builder.take();
  fail_usage(source + ": not a MessagePack value: " + builder.reason(),
             "send what this version's documentation describes");
}

std::string pack_message(const Json& value) {
  std::string out;
  Json::to_msgpack(value, nlohmann::detail::output_adapter<char>(out));
  return out;
}

}  // namespace zeroth
