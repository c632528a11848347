// Shared by the tests of model/ and policy/: fixture folders, temporary folders, messages of errors.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/error.h"

namespace zeroth::test {

inline const std::vector<std::string> kFamilies = {"llama",   "qwen2",       "qwen3",
                                                   "mixtral", "qwen2_moe",   "qwen3_moe",
                                                   "olmoe",   "deepseek_v2", "deepseek_v3"};

inline std::filesystem::path fixture(const std::string& family) {
  return std::filesystem::path("tests/data/parity") / family;
}

class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "zeroth-policy-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline bool same_bits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

// The text of the Error that body throws; empty when it throws none.
template <class Body>
std::string error_of(const Body& body) {
  try {
    body();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace zeroth::test
