#include "rewards/math/math_case.h"

#include "core/error.h"

namespace zeroth {

namespace {

constexpr size_t kMaxPrediction = size_t{64} << 20;

const Json* find(const Json& row, const char* key) {
  auto it = row.find(key);
  return it == row.end() || it->is_null() ? nullptr : &*it;
}

std::string required_string(const Json& row, const char* key, const std::string& where) {
  const Json* value = find(row, key);
  if (value == nullptr) fail(where + ": no \"" + key + "\"", "give it as a string");
  if (value->is_string()) return value->get<std::string>();
  if (value->is_number()) return value->dump();
  fail(where + ": \"" + key + "\" is " + value->dump().substr(0, 60) + ", not a string",
       "write it as a string");
}

std::string from_hex(const std::string& hex, const std::string& where) {
  std::string out;
  auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    int high = digit(hex[i]), low = digit(hex[i + 1]);
    if (high < 0 || low < 0)
      fail(where + ": \"pred_hex\" holds " + hex.substr(i, 2), "use pairs of 0-9a-f");
    out.push_back(static_cast<char>(high * 16 + low));
  }
  if (hex.size() % 2 != 0)
    fail(where + ": \"pred_hex\" has an odd number of digits", "use pairs of 0-9a-f");
  return out;
}

// [["text", count], ..] concatenated.
std::string generated(const Json& parts, const std::string& where) {
  std::string out;
  if (!parts.is_array())
    fail(where + ": \"pred_gen\" is not a list", "give [[\"text\", count], ..]");
  for (const Json& part : parts) {
    bool good =
        part.is_array() && part.size() == 2 && part[0].is_string() && part[1].is_number_unsigned();
    if (!good)
      fail(where + ": \"pred_gen\" holds " + part.dump().substr(0, 60), "give [\"text\", count]");
    std::string text = part[0].get<std::string>();
    uint64_t count = part[1].get<uint64_t>();
    if (!text.empty() && count > (kMaxPrediction - out.size()) / text.size()) {
      fail(where + ": \"pred_gen\" makes more than 64 MiB", "lower its counts");
    }
    for (uint64_t i = 0; i < count; ++i) out += text;
  }
  return out;
}

MathTarget read_target(const Json& json, const std::string& where) {
  MathTarget target;
  std::string type = json.is_object() && json.contains("type") && json["type"].is_string()
                         ? json["type"].get<std::string>()
                         : std::string();
  if (type == "latex") {
    target.kind = MathTarget::Kind::kLatex;
  } else if (type == "expr") {
    target.kind = MathTarget::Kind::kExpr;
  } else if (type == "string") {
    target.kind = MathTarget::Kind::kString;
  } else {
    fail(where + ": target " + json.dump().substr(0, 60), "its \"type\" is latex, expr or string");
  }
  if (const Json* strings = find(json, "strings")) {
    if (!strings->is_array() || strings->empty())
      fail(where + ": \"strings\" is no list", "list the words");
    target.strings.clear();
    for (const Json& word : *strings) {
      if (!word.is_string())
        fail(where + ": \"strings\" holds " + word.dump().substr(0, 60), "list words");
      target.strings.push_back(word.get<std::string>());
    }
  }
  return target;
}

void read_options(const Json& opts, const std::string& where, MathOptions* options) {
  if (!opts.is_object())
    fail(where + ": \"opts\" is no object", "give {\"float_rounding\": 6, ..}");
  for (const auto& [key, value] : opts.items()) {
    if (key == "float_rounding" && value.is_number_integer() && value >= 0 && value <= 30) {
      options->float_rounding = value.get<int>();
    } else if (key == "strict" && value.is_boolean()) {
      options->strict = value.get<bool>();
    } else if (key == "allow_set_relation_comp" && value.is_boolean()) {
      options->allow_set_relation_comp = value.get<bool>();
    } else if (key == "numeric_precision" || key == "timeout_seconds") {
      // Precision rises here until the values separate, and budgets stand in place of timeouts.
    } else {
      fail(where + ": opts." + key + " is " + value.dump().substr(0, 60),
           "known are float_rounding (0..30), strict and allow_set_relation_comp (true or false)");
    }
  }
}

}  // namespace

MathCase read_math_case(const Json& row, const std::string& where) {
  if (!row.is_object()) fail(where + ": not an object", "one JSON object a line");
  MathCase result;
  if (const Json* id = find(row, "id")) result.id = *id;
  result.gold = required_string(row, "gold", where);
  if (const Json* hex = find(row, "pred_hex")) {
    if (!hex->is_string()) fail(where + ": \"pred_hex\" is no string", "give hexadecimal digits");
    result.pred = from_hex(hex->get<std::string>(), where);
  } else if (const Json* parts = find(row, "pred_gen")) {
    result.pred = generated(*parts, where);
  } else {
    result.pred = required_string(row, "pred", where);
  }
  if (const Json* mode = find(row, "mode")) {
    std::string name = mode->is_string() ? mode->get<std::string>() : mode->dump();
    if (name == "think") {
      result.options.format = AnswerFormat::kThink;
    } else if (name == "answer_tag") {
      result.options.format = AnswerFormat::kAnswerTag;
    } else if (name != "auto") {
      fail(where + ": mode " + name.substr(0, 60), "known are auto, think and answer_tag");
    }
  }
  if (const Json* targets = find(row, "targets")) {
    if (!targets->is_array())
      fail(where + ": \"targets\" is no list", "give [{\"type\": \"latex\"}, ..]");
    for (const Json& target : *targets)
      result.options.targets.push_back(read_target(target, where));
  }
  if (const Json* opts = find(row, "opts")) read_options(*opts, where, &result.options);
  if (const Json* expected = find(row, "expected"); expected != nullptr && expected->is_boolean()) {
    result.expected = expected->get<bool>();
  }
  if (const Json* tier = find(row, "tier"); tier != nullptr && tier->is_string())
    result.tier = tier->get<std::string>();
  if (const Json* limit = find(row, "max_ms"); limit != nullptr && limit->is_number())
    result.max_ms = limit->get<double>();
  return result;
}

}  // namespace zeroth
