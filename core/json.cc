#include "core/json_text.h"

#include <algorithm>
#include <unordered_map>

#include "core/error.h"
#include "core/files.h"

namespace zeroth {
namespace {

// An ordered object compares a new key with every earlier one. Above this size the builder keeps an
// index of the keys beside it, so that a hostile object of a million keys takes no hours.
constexpr size_t kIndexedKeys = 32;

// Builds the value from the parser's events. The parser itself keeps no stack in memory that calls
// share; refusing the level that is too deep is all that bounds the depth of the value.
class Builder : public nlohmann::json_sax<Json> {
 public:
  explicit Builder(const JsonBounds& bounds) : bounds_(bounds) {}

  Json take() { return std::move(root_); }
  // Which bound the text is over.
  enum class Over { kNone, kDepth, kValues };
  Over over() const { return over_; }
  const std::string& reason() const { return reason_; }
  // Byte at which a parse error was seen, 0 where the text has no place (a number out of range).
  size_t error_byte() const { return error_byte_; }

  bool null() override { return add(nullptr); }
  bool boolean(bool value) override { return add(value); }
  bool number_integer(int64_t value) override { return add(value); }
  bool number_unsigned(uint64_t value) override { return add(value); }
  bool number_float(double value, const std::string&) override { return add(value); }
  bool string(std::string& value) override { return add(std::move(value)); }
  bool binary(Json::binary_t&) override { return false; }  // text has none
  bool start_object(size_t) override { return open(Json::object()); }
  bool start_array(size_t) override { return open(Json::array()); }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool key(std::string& name) override {
    levels_.back().key = std::move(name);
    return true;
  }
  bool parse_error(size_t byte, const std::string&, const Json::exception& error) override {
    reason_ = error.what();
    error_byte_ = dynamic_cast<const Json::parse_error*>(&error) != nullptr ? byte : 0;
    return false;
  }

 private:
  struct Level {
    Json value;
    std::string key;                                // of the member that comes next
    std::unordered_map<std::string, size_t> index;  // key -> place, once there are many
  };

  bool open(Json&& empty) {
    if (levels_.size() >= static_cast<size_t>(bounds_.depth)) {
      over_ = Over::kDepth;
      return false;
    }
    levels_.emplace_back().value = std::move(empty);
    return true;
  }

  bool close() {
    Json value = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(value));
  }

  bool add(Json value) {
    if (++values_ > bounds_.values) {
      over_ = Over::kValues;
      return false;
    }
    if (levels_.empty()) {
      root_ = std::move(value);
    } else if (levels_.back().value.is_array()) {
      levels_.back().value.push_back(std::move(value));
    } else {
      add_member(levels_.back(), std::move(value));
    }
    return true;
  }

  static void add_member(Level& level, Json&& value) {
    auto& members = level.value.get_ref<Json::object_t&>();
    if (members.size() < kIndexedKeys) {
      members[level.key] = std::move(value);
      return;
    }
    if (level.index.empty()) {
      for (size_t i = 0; i < members.size(); ++i) level.index.emplace(members.data()[i].first, i);
    }
    const auto [at, fresh] = level.index.emplace(level.key, members.size());
    if (fresh) {
      members.push_back({std::move(level.key), std::move(value)});
    } else {
      members.data()[at->second].second = std::move(value);
    }
  }

  const JsonBounds bounds_;
  size_t values_ = 0;
  Json root_;
  std::vector<Level> levels_;  // the open objects and arrays
  Over over_ = Over::kNone;
  std::string reason_;
  size_t error_byte_ = 0;
};

bool build(std::string_view text, Builder& builder) {
  return Json::sax_parse(text.begin(), text.end(), &builder, Json::input_format_t::json,
                         /*strict=*/true, /*ignore_comments=*/true);
}

std::string position_text(std::string_view text, size_t byte) {
  const size_t end = std::min(byte, text.size());
  const size_t line = 1 + static_cast<size_t>(std::count(text.begin(), text.begin() + end, '\n'));
  const size_t start = text.rfind('\n', end == 0 ? 0 : end - 1);
  const size_t column = end - (start == std::string_view::npos || start >= end ? 0 : start + 1);
  return "line " + std::to_string(line) + ", column " + std::to_string(std::max<size_t>(1, column));
}

}  // namespace

Json parse_json(std::string_view text, const std::string& source, const JsonBounds& bounds) {
  Builder builder(bounds);
  if (build(text, builder)) return builder.take();
  if (builder.over() == Builder::Over::kDepth) {
    const std::string depth = std::to_string(bounds.depth);
    fail_usage(source + ": JSON is nested more than " + depth + " deep",
               "at most " + depth + " levels are read");
  }
  if (builder.over() == Builder::Over::kValues) {
    fail_usage(source + ": JSON holds more than " + std::to_string(bounds.values) + " values",
               "is it the right file?");
  }
  std::string reason = builder.reason();
  if (builder.error_byte() == 0) {
    fail_usage(source + ": not valid JSON: " + reason, "correct that value");
  }
  if (const size_t at = reason.find("column"); at != std::string::npos) {
    const size_t start = reason.find(": ", at);
    if (start != std::string::npos) reason = reason.substr(start + 2);
  }
  fail_usage(
      source + ": not valid JSON at " + position_text(text, builder.error_byte()) + ": " + reason,
      "correct the file there");
}

Json parse_json(std::string_view text, const std::string& source) {
  return parse_json(text, source, JsonBounds{});
}

std::optional<Json> try_parse_json(std::string_view text, const JsonBounds& bounds) {
  Builder builder(bounds);
  if (!build(text, builder)) return std::nullopt;
  return builder.take();
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path, uint64_t{1} << 30), path.string());
}

}  // namespace zeroth
