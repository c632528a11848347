#include "record/newest_metrics.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <set>

#include "core/json_text.h"

namespace zeroth {

Json newest_metrics(const std::filesystem::path& run) {
  const int fd = ::open((run / "metrics.jsonl").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return nullptr;
  Json row;
  const off_t end = ::lseek(fd, 0, SEEK_END);
  // A row has a few kilobytes; one with the loads of many experts may have more.
  for (off_t piece = 64 << 10; end > 0 && piece <= 64 << 20; piece *= 8) {
    const off_t begin = std::max<off_t>(0, end - piece);
    std::string text(static_cast<size_t>(end - begin), '\0');
    const ssize_t got = ::pread(fd, text.data(), text.size(), begin);
    text.resize(static_cast<size_t>(std::max<ssize_t>(0, got)));
    // From the last line backwards; the first may have begun before this piece.
    for (size_t stop = text.rfind('\n'); stop != std::string::npos && row.is_null();) {
      const size_t before = stop == 0 ? std::string::npos : text.rfind('\n', stop - 1);
      if (before == std::string::npos && begin > 0) break;
      const size_t first = before == std::string::npos ? 0 : before + 1;
      row = try_parse_json(std::string_view(text).substr(first, stop - first)).value_or(nullptr);
      if (!row.is_object()) row = nullptr;  // damaged
      stop = before;
    }
    if (!row.is_null() || begin == 0 || got <= 0) break;
  }
  ::close(fd);
  return row;
}

std::string prometheus_text(const Json& row) {
  std::string out;
  if (!row.is_object()) return out;
  std::set<std::string> seen;
  const auto put = [&](const std::string& name, const Json& value) {
    if (!value.is_number()) return;
    std::string metric = "zeroth_";
    for (const char c : name) metric += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
    if (!seen.insert(metric).second) return;
    char number[40];
    std::snprintf(number, sizeof number, "%.17g", value.get<double>());
    out += "# TYPE " + metric + " gauge\n" + metric + " " + number + "\n";
  };
  for (const auto& [name, value] : row.items()) {
    if (name == "timing" && value.is_object()) {
      for (const auto& [inner, number] : value.items()) put("timing_" + inner, number);
    } else {
      put(name, value);
    }
  }
  return out;
}

}  // namespace zeroth
