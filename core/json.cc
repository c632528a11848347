#include "core/json_text.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/json_builder.h"

namespace zeroth {
namespace {

bool build(std::string_view text, JsonBuilder& builder) {
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
  JsonBuilder builder({.bounds = bounds});
  if (build(text, builder)) return builder.take();
  if (builder.over() == JsonBuilder::Over::kDepth) {
    const std::string depth = std::to_string(bounds.depth);
    fail_usage(source + ": JSON is nested more than " + depth + " deep",
               "at most " + depth + " levels are read");
  }
  if (builder.over() == JsonBuilder::Over::kValues) {
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
  JsonBuilder builder({.bounds = bounds});
  if (!build(text, builder)) return std::nullopt;
  return builder.take();
}

Json read_json_file(const std::filesystem::path& path) {
  return parse_json(read_file(path, uint64_t{1} << 30), path.string());
}

}  // namespace zeroth
