#include "model/config_reader.h"

#include "core/error.h"

namespace zeroth {

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

std::string ConfigReader::shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return text.size() > 80 ? text.substr(0, 77) + "..." : text;
}

}  // namespace zeroth
