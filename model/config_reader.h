// Typed access to an object of a config.json.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/config.h"

namespace zeroth {

// Keys are tried in order (new and old spellings); null counts as absent, as it does in the Python
// classes that write these files. Values of a wrong type or range are an Error(kUsage) that names
// file, key, value and range. Reads the object it was made of, which must outlive it.
class ConfigReader {
 public:
  using Keys = std::vector<const char*>;

  ConfigReader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {}

  [[noreturn]] void bad(const std::string& key, const std::string& what,
                        const std::string& fix) const;
  bool has(const char* key) const { return find({key}) != nullptr; }
  bool is_null(const char* key) const { return json_.contains(key) && json_[key].is_null(); }
  const Json* find(const Keys& keys, std::string* used = nullptr) const;
  // Without a fallback the key is required.
  int integer(const Keys& keys, std::optional<int> fallback, int lo, int hi) const;
  double real(const Keys& keys, std::optional<double> fallback, double lo, double hi) const;
  bool boolean(const char* key, bool fallback) const;
  std::string text(const Keys& keys, const std::string& fallback) const;
  ConfigReader object(const char* key) const;  // empty when absent
  auto items() const { return json_.items(); }

  static std::string shown(const Json& value);  // shortened, and printable
  std::string shown_all() const { return shown(json_); }

 private:
  [[noreturn]] void missing(const std::string& key) const;

  const Json& json_;
  std::string where_;
};

// A config.json, which Python may have written with NaN and Infinity: those become numbers that no
// range admits.
Json read_config_json(const std::filesystem::path& path);

}  // namespace zeroth
