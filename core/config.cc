#include "core/config.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "core/files.h"
#include "core/json_text.h"

namespace zeroth {
namespace config_detail {
namespace {

using Type = Field::Type;

const char* type_name(Type type) {
  switch (type) {
    case Type::kBool:
      return "true or false";
    case Type::kInt:
      return "a whole number";
    case Type::kUint:
      return "a whole number >= 0";
    case Type::kReal:
      return "a number";
    case Type::kString:
      return "a string";
    case Type::kInts:
      return "a list of whole numbers";
    case Type::kReals:
      return "a list of numbers";
    case Type::kStrings:
      return "a list of strings";
    case Type::kJson:
      return "any JSON value";
    case Type::kStruct:
      return "an object";
  }
  return "a value";
}

std::string shorten(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

bool type_matches(Type type, const Json& value) {
  const auto all = [&](auto&& test) {
    return value.is_array() && std::all_of(value.begin(), value.end(), test);
  };
  const auto whole = [](const Json& item) {
    return item.is_number_integer() ||
           (item.is_number_float() && std::nearbyint(item.get<double>()) == item.get<double>() &&
            std::abs(item.get<double>()) < 0x1p53);
  };
  switch (type) {
    case Type::kBool:
      return value.is_boolean();
    case Type::kInt:
      return whole(value);
    case Type::kUint:
      return whole(value) && (value.is_number_unsigned() || value.get<double>() >= 0);
    case Type::kReal:
      return value.is_number();
    case Type::kString:
      return value.is_string();
    case Type::kInts:
      return all(whole);
    case Type::kReals:
      return all([](const Json& item) { return item.is_number(); });
    case Type::kStrings:
      return all([](const Json& item) { return item.is_string(); });
    case Type::kJson:
      return true;
    case Type::kStruct:
      return value.is_object();
  }
  return false;
}

std::string number_text(double value) {
  std::ostringstream out;
  out.precision(17);
  if (std::nearbyint(value) == value && std::abs(value) < 1e15)
    out << static_cast<int64_t>(value);
  else
    out << std::defaultfloat << std::setprecision(6) << value;
  return out.str();
}

std::string range_text(const Field& field) {
  const bool lo = std::isfinite(field.range.lo) && std::abs(field.range.lo) < 1e15;
  const bool hi = std::isfinite(field.range.hi) && std::abs(field.range.hi) < 1e15;
  if (lo && hi) return number_text(field.range.lo) + " to " + number_text(field.range.hi);
  if (lo) return "at least " + number_text(field.range.lo);
  if (hi) return "at most " + number_text(field.range.hi);
  return "";
}

void set_checked(Field& field, const Json& value, const std::string& path,
                 const std::string& source) {
  if (!type_matches(field.type, value)) {
    fail_usage(source + ": " + path + " is " + shorten(value),
               "give " + std::string(type_name(field.type)));
  }
  const auto check_number = [&](const Json& number) {
    const double x = number.get<double>();
    if (!(x >= field.range.lo && x <= field.range.hi)) {
      fail_usage(source + ": " + path + " is " + shorten(number),
                 "give a value of " + range_text(field));
    }
  };
  if (field.type == Type::kInt || field.type == Type::kUint || field.type == Type::kReal)
    check_number(value);
  if (field.type == Type::kInts || field.type == Type::kReals) {
    for (const Json& item : value) check_number(item);
  }
  if (!field.choice.values.empty()) {
    const auto check_word = [&](const std::string& word) {
      const auto& words = field.choice.values;
      if (std::find(words.begin(), words.end(), word) != words.end()) return;
      std::string list;
      for (const std::string& w : words) list += (list.empty() ? "" : ", ") + w;
      fail_usage(source + ": " + path + " is \"" + word + "\"", "choose one of: " + list);
    };
    if (field.type == Type::kString) check_word(value.get<std::string>());
    if (field.type == Type::kStrings) {
      for (const Json& item : value) check_word(item.get<std::string>());
    }
  }
  if ((field.type == Type::kInt || field.type == Type::kUint) && value.is_number_float()) {
    field.set(Json(static_cast<int64_t>(value.get<double>())));
  } else {
    field.set(value);
  }
}

std::vector<std::string> names_of(const std::vector<Field>& fields) {
  std::vector<std::string> names;
  for (const Field& field : fields) names.push_back(field.name);
  return names;
}

Field& find(std::vector<Field>& fields, const std::string& name, const std::string& path,
            const std::string& source) {
  for (Field& field : fields) {
    if (field.name == name) return field;
  }
  const std::string near = nearest(name, names_of(fields));
  std::string list;
  for (const std::string& known : names_of(fields)) list += (list.empty() ? "" : ", ") + known;
  fail_usage(source + ": unknown key \"" + path + "\"",
             near.empty() ? "known keys here: " + list
                          : "did you mean \"" + near + "\"? known keys here: " + list);
}

// Values on the command line are JSON where they parse as the field's type; otherwise bare words,
// and comma lists.
Json value_from_text(const Field& field, const std::string& text) {
  if (field.type == Type::kString) {
    if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
      const std::optional<Json> parsed = try_parse_json(text);
      if (parsed && parsed->is_string()) return *parsed;
    }
    return Json(text);
  }
  std::optional<Json> parsed = try_parse_json(text);
  if (parsed && type_matches(field.type, *parsed)) return std::move(*parsed);
  if (field.type == Type::kInts || field.type == Type::kReals || field.type == Type::kStrings) {
    Json list = Json::array();
    std::stringstream stream(text);
    for (std::string item; std::getline(stream, item, ',');) {
      const std::optional<Json> number = try_parse_json(item);
      const bool numeric = field.type != Type::kStrings && number && number->is_number();
      list.push_back(numeric ? *number : Json(item));
    }
    return list;
  }
  return parsed ? std::move(*parsed) : Json(text);
}

// Sets the member "a.b" of a free-form object; objects on the way are made where nothing is.
void set_member(Json& object, const std::string& path, const std::string& text,
                const std::string& assignment) {
  Json* at = &object;
  std::stringstream stream(path);
  for (std::string part; std::getline(stream, part, '.');) {
    if (at->is_null()) *at = Json::object();
    if (!at->is_object()) {
      fail_usage("--set " + assignment + ": " + shorten(*at) + " has no member \"" + part + "\"",
                 "name a member of an object");
    }
    at = &(*at)[part];
  }
  *at = try_parse_json(text).value_or(Json(text));
}

}  // namespace

void apply(std::vector<Field>& fields, const Json& json, const std::string& path,
           const std::string& source) {
  if (!json.is_object()) {
    fail_usage(source + ": " + (path.empty() ? "the top level" : path) + " is " + shorten(json),
               "give an object");
  }
  for (const auto& [key, value] : json.items()) {
    const std::string full = path.empty() ? key : path + "." + key;
    Field& field = find(fields, key, full, source);
    if (field.type == Type::kStruct) {
      apply(field.children, value, full, source);
    } else {
      set_checked(field, value, full, source);
    }
  }
}

void apply_override(std::vector<Field>& fields, const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail_usage("--set " + assignment + " has no '='",
               "write --set key=value, for example --set sampling.max_tokens=128");
  }
  const std::string path = assignment.substr(0, equals);
  const std::string text = assignment.substr(equals + 1);
  std::vector<Field>* level = &fields;
  std::stringstream stream(path);
  std::string part, so_far;
  Field* field = nullptr;
  while (std::getline(stream, part, '.')) {
    so_far += (so_far.empty() ? "" : ".") + part;
    if (field != nullptr && field->type == Type::kJson) {
      Json object = field->get();
      set_member(object, path.substr(so_far.size() - part.size()), text, assignment);
      field->set(object);
      return;
    }
    field = &find(*level, part, so_far, "--set");
    level = &field->children;
  }
  if (field == nullptr)
    fail_usage("--set " + assignment + " names no key", "write --set key=value");
  const Json value = value_from_text(*field, text);
  if (field->type == Type::kStruct) return apply(field->children, value, path, "--set");
  set_checked(*field, value, path, "--set");
}

Json dump(const std::vector<Field>& fields) {
  Json json = Json::object();
  for (const Field& field : fields)
    json[field.name] = field.type == Type::kStruct ? dump(field.children) : field.get();
  return json;
}

std::string help(const std::vector<Field>& fields, const std::string& prefix) {
  std::string text;
  for (const Field& field : fields) {
    const std::string name = prefix + field.name;
    if (field.type == Type::kStruct) {
      text += help(field.children, name + ".");
      continue;
    }
    std::string line = "  " + name;
    line += std::string(line.size() < 34 ? 34 - line.size() : 1, ' ') + field.help;
    std::string facts = "default " + shorten(field.get());
    if (!range_text(field).empty()) facts += ", " + range_text(field);
    if (!field.choice.values.empty()) {
      facts += ", one of";
      for (const std::string& value : field.choice.values) facts += " " + value;
    }
    text += line + " (" + facts + ")\n";
  }
  return text;
}

namespace {

// Flags of nested structs are their dotted path; a bare name works where it is unique.
void flatten(std::vector<Field>& fields, const std::string& prefix,
             std::vector<std::pair<std::string, Field*>>& out) {
  for (Field& field : fields) {
    if (field.type == Type::kStruct)
      flatten(field.children, prefix + field.name + ".", out);
    else
      out.emplace_back(prefix + field.name, &field);
  }
}

Json flag_value(const Field& field, const std::string& text) {
  return field.repeated ? Json::array({text}) : value_from_text(field, text);
}

Field* find_flag(const std::vector<std::pair<std::string, Field*>>& flags,
                 const std::string& name) {
  Field* found = nullptr;
  int matches = 0;
  for (const auto& [path, field] : flags) {
    if (path == name) return field;
    if (field->name == name) {
      found = field;
      ++matches;
    }
  }
  return matches == 1 ? found : nullptr;
}

}  // namespace

std::vector<std::string> apply_flags(std::vector<Field>& fields,
                                     const std::vector<std::string>& args,
                                     const std::string& command) {
  std::vector<std::pair<std::string, Field*>> flags;
  flatten(fields, "", flags);
  std::vector<std::string> rest;
  std::vector<const Field*> seen;  // a list flag given again appends
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (arg == "--") {
      rest.insert(rest.end(), args.begin() + i + 1, args.end());
      break;
    }
    if (arg.size() < 3 || arg.compare(0, 2, "--") != 0) {
      rest.push_back(arg);
      continue;
    }
    const size_t equals = arg.find('=');
    std::string name = arg.substr(2, equals == std::string::npos ? std::string::npos : equals - 2);
    std::replace(name.begin(), name.end(), '-', '_');
    Field* field = find_flag(flags, name);
    if (field == nullptr) {
      std::vector<std::string> names;
      for (const auto& flag : flags) names.push_back(flag.second->name);
      std::string near = nearest(name, names);
      std::replace(near.begin(), near.end(), '_', '-');
      fail_usage("zeroth " + command + ": unknown option --" + arg.substr(2),
                 (near.empty() ? "" : "did you mean --" + near + "? ") +
                     std::string("see zeroth ") + command + " --help");
    }
    Json value;
    if (equals != std::string::npos) {
      value = flag_value(*field, arg.substr(equals + 1));
    } else if (field->type == Type::kBool) {
      value = true;
      if (i + 1 < args.size() && (args[i + 1] == "true" || args[i + 1] == "false"))
        value = args[++i] == "true";
    } else {
      if (i + 1 >= args.size()) {
        fail_usage("zeroth " + command + ": --" + name + " has no value",
                   "write --" + name + " VALUE");
      }
      value = flag_value(*field, args[++i]);
    }
    const bool list = field->type == Type::kStrings;
    if (list && std::find(seen.begin(), seen.end(), field) != seen.end()) {
      Json all = field->get();
      for (const Json& item : value) all.push_back(item);
      value = all;
    }
    seen.push_back(field);
    set_checked(*field, value, "--" + name, "zeroth " + command);
  }
  return rest;
}

}  // namespace config_detail

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  std::string best;
  size_t best_distance = std::max<size_t>(2, word.size() / 2) + 1;
  if (word.size() > 256) return best;
  for (const std::string& candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);
    for (size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (size_t i = 1; i <= word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i;
      for (size_t j = 1; j <= candidate.size(); ++j) {
        const size_t substitute = diagonal + (word[i - 1] != candidate[j - 1]);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, substitute});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace zeroth
