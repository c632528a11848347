#include "tasks/rows.h"

#include "core/files.h"
#include "core/json_lines.h"
#include "core/regular_file.h"

namespace zeroth {
namespace {

bool is_array_file(const std::string& path) {
  bool array = false, seen = false;
  for_each_line(path, [&](std::string_view line, int64_t) {
    const size_t at = line.find_first_not_of(" \t\r");
    if (seen || at == std::string_view::npos) return;
    seen = true;
    array = line[at] == '[';
  });
  return array;
}

}  // namespace

void for_each_row(const std::string& path,
                  const std::function<void(const Json&, const std::string&)>& row) {
  const auto checked = [&](const Json& json, const std::string& place) {
    if (!json.is_object()) fail(place + ": the row is no object", "each row is one JSON object");
    row(json, place);
  };
  require_regular_file(path);
  if (!path.ends_with(".gz") && is_array_file(path)) {
    const Json rows = parse_json(read_file(path), path);
    for (size_t i = 0; i < rows.size(); ++i) checked(rows[i], path + "[" + std::to_string(i) + "]");
    return;
  }
  for_each_json_line(path, [&](const Json& json, int64_t line) {
    checked(json, path + ":" + std::to_string(line));
  });
}

}  // namespace zeroth
