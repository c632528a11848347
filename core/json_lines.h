// One JSON object a line, appended and read back.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "core/config.h"
#include "core/files.h"

namespace zeroth {

// Calls row(object, line_number) for each line that is not blank; malformed lines throw Error
// naming file and line.
void for_each_json_line(const std::filesystem::path& path,
                        const std::function<void(const Json& row, int64_t line)>& row);

// Appends objects to a file. When the file is opened again, a half-written last line (crash) is cut
// off, and a whole one that only lacks its line feed gets it.
class JsonLinesWriter {
 public:
  explicit JsonLinesWriter(const std::filesystem::path& path);
  void write(const Json& row);  // one write(2) per row
  void sync();

 private:
  std::unique_ptr<FileWriter> file_;
};

}  // namespace zeroth
