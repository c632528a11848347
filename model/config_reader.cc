#include "model/config_reader.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "core/files.h"
#include "text/lfs_pointer.h"

namespace zeroth {
namespace {

constexpr uint64_t kMaxConfig = uint64_t{64} << 20;

}  // namespace

void ConfigReader::bad(const std::string& key, const std::string& what,
                       const std::string& fix) const {
  fail_usage(where_ + ": '" + key + "' " + what, fix);
}

void ConfigReader::missing(const std::string& key) const {
  bad(key, "is missing", "this model needs it: take config.json from the same checkpoint");
}

const Json* ConfigReader::find(const Keys& keys, std::string* used) const {
  for (const char* key : keys) {
    const auto it = json_.find(key);
    if (it == json_.end() || it->is_null()) continue;
    if (used) *used = key;
    return &*it;
  }
  return nullptr;
}

int ConfigReader::integer(const Keys& keys, std::optional<int> fallback, int lo, int hi) const {
  std::string key = keys.front();
  const Json* value = find(keys, &key);
  if (!value && !fallback) missing(key);
  if (!value) return *fallback;
  const bool whole = value->is_number_integer();
  if (!whole || value->get<double>() < lo || value->get<double>() > hi) {
    bad(key, "is " + shown(*value),
        "give a whole number from " + std::to_string(lo) + " to " + std::to_string(hi));
  }
  return value->get<int>();
}

double ConfigReader::real(const Keys& keys, std::optional<double> fallback, double lo,
                          double hi) const {
  std::string key = keys.front();
  const Json* value = find(keys, &key);
  if (!value && !fallback) missing(key);
  if (!value) return *fallback;
  if (!value->is_number() || !(value->get<double>() >= lo) || !(value->get<double>() <= hi)) {
    bad(key, "is " + shown(*value),
        "give a number from " + Json(lo).dump() + " to " + Json(hi).dump());
  }
  return value->get<double>();
}

bool ConfigReader::boolean(const char* key, bool fallback) const {
  const Json* value = find({key});
  if (!value) return fallback;
  if (!value->is_boolean()) bad(key, "is " + shown(*value), "give true or false");
  return value->get<bool>();
}

std::string ConfigReader::text(const Keys& keys, const std::string& fallback) const {
  std::string key = keys.front();
  const Json* value = find(keys, &key);
  if (!value) return fallback;
  if (!value->is_string()) bad(key, "is " + shown(*value), "give a string");
  return value->get<std::string>();
}

ConfigReader ConfigReader::object(const char* key) const {
  const Json* value = find({key});
  static const Json kEmpty = Json::object();
  if (!value) return ConfigReader(kEmpty, where_ + ": " + key);
  if (!value->is_object()) bad(key, "is " + shown(*value), "give an object");
  return ConfigReader(*value, where_ + ": " + key);
}

namespace {

constexpr const char* kNotFinite[] = {"-Infinity", "Infinity", "NaN"};

// Words of Python outside of texts, as texts that no file holds.
std::string with_quoted_words(const std::string& text) {
  std::string out;
  bool inside = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') inside = !inside;
    if (inside && text[i] == '\\' && i + 1 < text.size()) out += text[i++];
    const char* found = nullptr;
    for (const char* word : kNotFinite) {
      if (!inside && found == nullptr && text.compare(i, std::strlen(word), word) == 0)
        found = word;
    }
    if (found == nullptr) {
      out += text[i];
      continue;
    }
    out += std::string("\"\\u0001") + found + "\"";
    i += std::strlen(found) - 1;
  }
  return out;
}

void to_numbers(Json& json) {
  if (json.is_structured()) {
    for (Json& item : json) to_numbers(item);
    return;
  }
  if (!json.is_string() || !json.get_ref<const std::string&>().starts_with('\x01')) return;
  const std::string word = json.get<std::string>().substr(1);
  if (word == "NaN") json = std::numeric_limits<double>::quiet_NaN();
  if (word == "Infinity") json = std::numeric_limits<double>::infinity();
  if (word == "-Infinity") json = -std::numeric_limits<double>::infinity();
}

}  // namespace

Json read_config_json(const std::filesystem::path& path) {
  const std::string text = read_file(path, kMaxConfig);
  refuse_lfs_pointer(text, path.string());
  Json json = parse_json(with_quoted_words(text), path.string());
  to_numbers(json);
  return json;
}

std::string ConfigReader::shown(const Json& value) {
  std::string text = value.is_number_float() && !std::isfinite(value.get<double>())
                         ? "not finite"
                         : value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

}  // namespace zeroth
