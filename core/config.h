// Typed configuration. One list of fields per struct drives parsing, ranges, unknown-key errors,
// --help, flags and the dump, so these can never disagree:
//
//   struct GrpoConfig {
//     int group_size = 8;
//     float clip_low = 0.2f;
//     std::string advantage = "mean";
//     template <class V> void fields(V& v) {
//       v("group_size", group_size, "samples per prompt", Range{2, 1024});
//       v("clip_low", clip_low, "ratio is kept above 1 - clip_low", Range{0.0, 10.0});
//       v("advantage", advantage, "baseline of a group", Choice{{"mean", "mean_std",
//       "leave_one_out"}});
//     }
//   };
//
// Supported field types: bool, int, int64_t, uint64_t, float, double, std::string, std::vector of
// int, double or std::string, nlohmann::json (free form), and nested structs with a fields() of
// their own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/error.h"

namespace zeroth {

using Json = nlohmann::ordered_json;

struct Range {
  double lo = -std::numeric_limits<double>::infinity();
  double hi = std::numeric_limits<double>::infinity();
};

struct Choice {
  std::vector<std::string> values;
};

namespace config_detail {
struct Field {
  std::string name;
  std::string help;
  enum class Type {
    kBool,
    kInt,
    kUint,
    kReal,
    kString,
    kInts,
    kReals,
    kStrings,
    kJson,
    kStruct
  } type;
  Range range;
  Choice choice;
  std::function<Json()> get;
  std::function<void(const Json&)> set;  // value already checked
  std::vector<Field> children;           // kStruct
};

class Collector;
template <class T>
std::vector<Field> collect(T& object);

class Collector {
 public:
  template <class T>
  void operator()(const char* name, T& value, const char* help) {
    add(name, value, help, {}, {});
  }
  template <class T>
  void operator()(const char* name, T& value, const char* help, Range range) {
    add(name, value, help, range, {});
  }
  template <class T>
  void operator()(const char* name, T& value, const char* help, Choice choice) {
    add(name, value, help, {}, std::move(choice));
  }
  std::vector<Field> take() { return std::move(fields_); }

 private:
  template <class T>
  void add(const char* name, T& value, const char* help, Range range, Choice choice) {
    using Type = Field::Type;
    Field field;
    field.name = name;
    field.help = help;
    field.range = range;
    field.choice = std::move(choice);
    if constexpr (requires(Collector & c) { value.fields(c); }) {
      field.type = Type::kStruct;
      field.children = collect(value);
    } else {
      if constexpr (std::is_same_v<T, bool>)
        field.type = Type::kBool;
      else if constexpr (std::is_same_v<T, uint64_t> || std::is_same_v<T, uint32_t>)
        field.type = Type::kUint;
      else if constexpr (std::is_integral_v<T>)
        field.type = Type::kInt;
      else if constexpr (std::is_floating_point_v<T>)
        field.type = Type::kReal;
      else if constexpr (std::is_same_v<T, std::string>)
        field.type = Type::kString;
      else if constexpr (std::is_same_v<T, std::vector<int>>)
        field.type = Type::kInts;
      else if constexpr (std::is_same_v<T, std::vector<double>>)
        field.type = Type::kReals;
      else if constexpr (std::is_same_v<T, std::vector<std::string>>)
        field.type = Type::kStrings;
      else {
        static_assert(std::is_same_v<T, Json>, "unsupported field type");
        field.type = Type::kJson;
      }
      if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
        field.range.lo =
            std::max(field.range.lo, static_cast<double>(std::numeric_limits<T>::min()));
        field.range.hi =
            std::min(field.range.hi, static_cast<double>(std::numeric_limits<T>::max()));
      }
      field.get = [&value] { return Json(value); };
      field.set = [&value](const Json& json) { value = json.get<T>(); };
    }
    fields_.push_back(std::move(field));
  }
  std::vector<Field> fields_;
};

template <class T>
std::vector<Field> collect(T& object) {
  Collector collector;
  object.fields(collector);
  return collector.take();
}

void apply(std::vector<Field>& fields, const Json& json, const std::string& path,
           const std::string& source);
void apply_override(std::vector<Field>& fields, const std::string& assignment);
Json dump(const std::vector<Field>& fields);
std::string help(const std::vector<Field>& fields, const std::string& prefix);
std::vector<std::string> apply_flags(std::vector<Field>& fields,
                                     const std::vector<std::string>& args,
                                     const std::string& command);
}  // namespace config_detail

// Sets the fields that `json` names; others keep their values. Unknown keys (the message names the
// nearest key), wrong types and values out of range throw Error(kUsage) that names `source` and the
// dotted path.
template <class T>
void load_config(T& config, const Json& json, const std::string& source) {
  auto fields = config_detail::collect(config);
  config_detail::apply(fields, json, "", source);
}

// One override "a.b=value"; the value is JSON, or a bare word for strings.
template <class T>
void override_config(T& config, const std::string& assignment) {
  auto fields = config_detail::collect(config);
  config_detail::apply_override(fields, assignment);
}

// Every field with its value, in declaration order.
template <class T>
Json dump_config(T& config) {
  return config_detail::dump(config_detail::collect(config));
}

// One line a field: name, default, range, help.
template <class T>
std::string config_help(T& config) {
  return config_detail::help(config_detail::collect(config), "");
}

// Reads `--name value`, `--name=value` and bare `--flag` (bool) into the struct; underscores and
// dashes in names are the same. Returns what is left (positional arguments). An unknown flag is an
// Error that names the nearest one.
template <class T>
std::vector<std::string> parse_flags(T& options, const std::vector<std::string>& args,
                                     const std::string& command) {
  auto fields = config_detail::collect(options);
  return config_detail::apply_flags(fields, args, command);
}

// Parses JSON with // comments from a file; errors name the file, line and column. Depth and size
// are bounded.
Json read_json_file(const std::filesystem::path& path);
// Same from memory; `source` is named in errors.
Json parse_json(std::string_view text, const std::string& source);

// The candidate closest to `word` by edit distance, or empty when none is near.
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace zeroth
