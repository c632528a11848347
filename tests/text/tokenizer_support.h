// Shared by the tokenizer tests.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "text/tokenizer.h"

namespace zeroth::test {

namespace fs = std::filesystem;

inline const fs::path kFixtures = "tests/data/tokenizers";

inline std::unique_ptr<Tokenizer> load_fixture(const std::string& name) {
  return Tokenizer::load(kFixtures / name);
}

// A folder of its own that goes away with the object.
class TempFolder {
 public:
  TempFolder() {
    static int count = 0;
    path = fs::temp_directory_path() /
           ("zeroth_tokenizer_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    fs::create_directories(path);
  }
  ~TempFolder() { fs::remove_all(path); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(path / name, std::ios::binary) << content;
  }

  fs::path path;
};

// The message of the Error that `action` throws; "no error" when it throws none.
inline std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace zeroth::test
