#include "core/json_lines.h"

#include <unistd.h>

#include "core/json_text.h"

namespace zeroth {

void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json&, int64_t)>& row) {
  for_each_line(path, [&](std::string_view text, int64_t number) {
    if (text.find_first_not_of(" \t\r") == std::string_view::npos) return;
    row(parse_json(text, path.string() + ":" + std::to_string(number)), number);
  });
}

JsonLinesWriter::JsonLinesWriter(const std::filesystem::path& path) {
  bool unended = false;
  if (std::filesystem::exists(path)) {
    const std::string content = read_file(path, uint64_t{1} << 34);
    const size_t end = content.rfind('\n');
    const size_t keep = end == std::string::npos ? 0 : end + 1;
    if (keep != content.size()) {
      const auto last = try_parse_json(std::string_view(content).substr(keep));
      unended = last && last->is_object();
      if (!unended) std::filesystem::resize_file(path, keep);
    }
  }
  file_ = std::make_unique<FileWriter>(path, /*append=*/true);
  if (unended) file_->write("\n");
}

void JsonLinesWriter::write(const Json& row) {
  file_->write(row.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

void JsonLinesWriter::sync() { file_->sync(); }

}  // namespace zeroth
