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
//       v("advantage", advantage, "baseline of a group", Choice{{"mean", "mean_std"}});
//     }
//   };
//
// Supported field types: bool, int, int64_t, uint64_t, float, double, std::string, std::vector of
// int, double or std::string, nlohmann::json (free form), and nested structs with a fields() of
// their own. A flag of a list takes a,b,c; behind the help, Repeated{} makes every occurrence one
// element instead.
#pragma once

#include <string>
#include <vector>

#include "core/config_fields.h"
#include "core/error.h"
#include "core/json.h"

namespace zeroth {

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

}  // namespace zeroth
