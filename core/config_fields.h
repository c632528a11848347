// How core/config.h turns the fields() of a struct into a list. Include core/config.h instead.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/json.h"

namespace zeroth {

struct Range {
  double lo = -std::numeric_limits<double>::infinity();
  double hi = std::numeric_limits<double>::infinity();
};

struct Choice {
  std::vector<std::string> values;
};

// A list of strings whose flag adds one element each time, commas and all.
struct Repeated {};

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
  bool repeated = false;
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
  void operator()(const char* name, std::vector<std::string>& value, const char* help, Repeated) {
    add(name, value, help, {}, {});
    fields_.back().repeated = true;
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

}  // namespace zeroth
