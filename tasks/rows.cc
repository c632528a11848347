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

// The elements of a JSON array that is known to be well formed.
std::vector<std::string_view> elements(std::string_view array) {
  std::vector<std::string_view> found;
  size_t begin = array.find('[') + 1;
  int depth = 0;
  for (size_t at = begin; at < array.size(); ++at) {
    const char c = array[at];
    if (c == '"') {
      for (++at; at < array.size() && array[at] != '"'; ++at) at += array[at] == '\\';
    } else if (c == '[' || c == '{') {
      ++depth;
    } else if (c == ',' ? depth == 0 : (c == ']' || c == '}') && depth-- == 0) {
      found.push_back(array.substr(begin, at - begin));
      begin = at + 1;
      if (c != ',') break;
    }
  }
  return found;
}

}  // namespace

void for_each_row(const std::string& path,
                  const std::function<void(const Json&, const std::string&)>& row) {
  for_each_row_text(path, [&](const Json& json, std::string_view, const std::string& place) {
    row(json, place);
  });
}

void for_each_row_text(
    const std::string& path,
    const std::function<void(const Json&, std::string_view, const std::string&)>& row) {
  const auto checked = [&](const Json& json, std::string_view text, const std::string& place) {
    if (!json.is_object()) fail(place + ": the row is no object", "each row is one JSON object");
    row(json, text, place);
  };
  require_regular_file(path);
  if (!path.ends_with(".gz") && is_array_file(path)) {
    const std::string text = read_file(path);
    const Json rows = parse_json(text, path);
    const std::vector<std::string_view> texts = elements(text);
    for (size_t i = 0; i < rows.size(); ++i)
      checked(rows[i], i < texts.size() ? texts[i] : "", path + "[" + std::to_string(i) + "]");
    return;
  }
  for_each_line(path, [&](std::string_view text, int64_t line) {
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
    const std::string place = path + ":" + std::to_string(line);
    checked(parse_json(text, place), text, place);
  });
}

}  // namespace zeroth
