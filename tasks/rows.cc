#include "tasks/rows.h"

#include <algorithm>
#include <vector>

#include "core/files.h"
#include "core/json_lines.h"
#include "core/regular_file.h"
#include "tasks/parquet_rows.h"
#include "tasks/row_files.h"

namespace zeroth {
namespace {

constexpr size_t kWholeDigits = 18;   // of an integer that 64 bits surely hold
constexpr size_t kDoubleDigits = 17;  // significant digits that a double may need

std::string_view trimmed(std::string_view line) {
  const size_t first = line.find_first_not_of(" \t\r\xEF\xBB\xBF");
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

// One array over the whole file; a file whose lines are arrays has a second one below the first.
bool is_array_file(const std::string& path) {
  int seen = 0;
  bool array = false;
  for_each_line(path, [&](std::string_view line, int64_t) {
    line = trimmed(line);
    if (seen >= 2 || line.empty()) return;
    ++seen;
    if (seen == 1) array = line.starts_with('[');
    if (seen == 1 && array && !line.ends_with(']')) seen = 2;
    if (seen == 2 && array && line.starts_with('[') && line.ends_with(']')) array = false;
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

std::string with_exact_numbers(std::string_view json) {
  std::string out;
  size_t copied = 0;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '"') {
      for (++i; i < json.size() && json[i] != '"'; ++i) i += json[i] == '\\';
      continue;
    }
    if (c != '-' && (c < '0' || c > '9')) continue;
    const size_t begin = i;
    size_t digits = 0;
    bool whole = true, exponent = false;
    for (; i < json.size(); ++i) {
      const char d = json[i];
      if (d >= '0' && d <= '9') {
        digits += !exponent && (d != '0' || digits > 0);
      } else if (d == '.' || d == 'e' || d == 'E') {
        whole = false;
        exponent |= d != '.';
      } else if (d != '-' && d != '+') {
        break;
      }
    }
    if (digits > (whole ? kWholeDigits : kDoubleDigits)) {
      out.append(json.substr(copied, begin - copied)).append("\"");
      out.append(json.substr(begin, i - begin)).append("\"");
      copied = i;
    }
    --i;
  }
  out.append(json.substr(copied));
  return out;
}

namespace {

// The texts of a file's rows in order, each with its place.
void for_each_text_of(const std::string& path,
                      const std::function<void(std::string_view, const std::string&)>& row) {
  require_regular_file(path);
  if (path.ends_with(".parquet")) {
    for_each_parquet_row(path, row);
    return;
  }
  if (!is_array_file(path)) {
    for_each_line(path, [&](std::string_view line, int64_t number) {
      if (!trimmed(line).empty()) row(line, path + ":" + std::to_string(number));
    });
    return;
  }
  std::string text;
  for_each_line(
      path, [&](std::string_view line, int64_t) { text.append(line).append("\n"); },
      size_t{1} << 30);
  const size_t rows = parse_json(text, path).size();
  const std::vector<std::string_view> texts = elements(text);
  for (size_t i = 0; i < std::min(rows, texts.size()); ++i)
    row(texts[i], path + "[" + std::to_string(i) + "]");
}

void for_each_text(const std::string& path,
                   const std::function<void(std::string_view, const std::string&)>& row) {
  for (const std::string& file : row_files(path)) for_each_text_of(file, row);
}

Json checked_row(std::string_view text, const std::string& place) {
  Json json = parse_json(text, place);
  if (json.is_array() && !json.empty() && json[0].is_object())
    return {{"messages", std::move(json)}};
  if (!json.is_object()) fail(place + ": the row is no object", "each row is one JSON object");
  return json;
}

}  // namespace

Json parse_row(std::string_view text, const std::string& place) {
  return checked_row(with_exact_numbers(text), place);
}

void for_each_row(const std::string& path,
                  const std::function<void(const Json&, const std::string&)>& row) {
  for_each_text(path, [&](std::string_view text, const std::string& place) {
    row(parse_row(text, place), place);
  });
}

void for_each_row_text(
    const std::string& path,
    const std::function<void(const Json&, std::string_view, const std::string&)>& row) {
  for_each_text(path, [&](std::string_view text, const std::string& place) {
    row(checked_row(text, place), text, place);
  });
}

}  // namespace zeroth
