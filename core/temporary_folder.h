// A folder that lives as long as its object.
#pragma once

#include <filesystem>
#include <string>

namespace zeroth {

class TemporaryFolder {
 public:
  // zeroth-NAME-XXXXXX where TMPDIR says. Throws Error when none can be made.
  explicit TemporaryFolder(const std::string& name = "test");
  ~TemporaryFolder();  // with all that is in it
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace zeroth
