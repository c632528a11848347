// Shared by the tests of model/ and policy/: fixture folders, temporary folders, messages of errors.
// A family's folder under tests/data/parity is all that tests know of it (its README says what is in
// it).
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "core/config.h"
#include "core/error.h"

namespace zeroth::test {

inline std::filesystem::path fixture(const std::string& family) {
  return std::filesystem::path("tests/data/parity") / family;
}

// The model types that have a fixture; tests/model/families_test.cc holds them against the table.
inline std::vector<std::string> families() {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(fixture(""))) {
    if (entry.is_directory()) out.push_back(entry.path().filename());
  }
  std::sort(out.begin(), out.end());
  return out;
}

// Whether files for llama.cpp are written and read of a family: unless its cases.json says "gguf":
// false.
inline bool in_gguf(const std::string& family) {
  return read_json_file(fixture(family) / "cases.json").value("gguf", true);
}
inline std::vector<std::string> gguf_families() {
  std::vector<std::string> out = families();
  std::erase_if(out, [](const std::string& family) { return !in_gguf(family); });
  return out;
}

// The family's config.json with some keys changed.
inline Json changed_config(const std::string& family, const Json& changes) {
  Json json = read_json_file(fixture(family) / "config.json");
  for (const auto& [key, value] : changes.items()) json[key] = value;
  return json;
}

// The family's cases.json: `part` of it, empty when the file has none.
inline Json cases(const std::string& family, const char* part) {
  const Json all = read_json_file(fixture(family) / "cases.json");
  return all.contains(part) ? all[part] : Json::object();
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
