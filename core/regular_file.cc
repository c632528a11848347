#include "core/regular_file.h"

#include "core/error.h"

namespace zeroth {

void require_regular_file(const std::filesystem::path& path) {
  std::error_code error;
  const auto type = std::filesystem::status(path, error).type();
  using Type = std::filesystem::file_type;
  if (type == Type::regular || type == Type::not_found || type == Type::none) return;
  fail("cannot read " + path.string() + ": it is " +
           (type == Type::directory ? "a folder" : "no regular file"),
       "name a file on disk");
}

}  // namespace zeroth
