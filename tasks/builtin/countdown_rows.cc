#include "tasks/builtin/countdown_rows.h"

#include <array>
#include <cmath>
#include <cstdlib>
#include <optional>

#include "core/error.h"
#include "tasks/builtin/data_rows.h"

namespace zeroth {
namespace {

constexpr int64_t kMost = 1000000;

std::optional<int64_t> whole(const Json& value) {
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (std::fabs(number) <= 1e9 && number == std::floor(number))
      return static_cast<int64_t>(number);
    return std::nullopt;
  }
  if (!value.is_string()) return std::nullopt;
  const auto& text = value.get_ref<const std::string&>();
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || text.find_first_of("xXnN") != std::string::npos)
    return std::nullopt;
  return whole(Json(number));
}

// "[3, 5, 7]" or "3 5 7" as a list of texts.
Json as_list(const Json& value) {
  if (!value.is_string()) return value;
  Json list = Json::array();
  std::string word;
  for (const char c : value.get<std::string>() + " ") {
    if (std::string_view("[](), \t").find(c) == std::string_view::npos) {
      word += c;
    } else if (!word.empty()) {
      list.push_back(word);
      word.clear();
    }
  }
  return list;
}

// The object that holds numbers and target.
const Json* holder(const Json& row) {
  const auto has = [](const Json* object) {
    return object != nullptr && object->is_object() && object->contains("target") &&
           (object->contains("nums") || object->contains("numbers"));
  };
  if (has(&row)) return &row;
  for (const char* path : {"reward_model.ground_truth", "ground_truth", "metadata", "extra_info"}) {
    const Json* inner = find_column(row, path);
    if (has(inner)) return inner;
  }
  return nullptr;
}

std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
}

// All ways to join two of the values, until one is left.
bool reaches(std::array<double, 5>& values, size_t count, double target) {
  if (count == 1) return std::fabs(values[0] - target) < 1e-9 * (1 + std::fabs(target));
  for (size_t i = 0; i < count; ++i) {
    for (size_t k = i + 1; k < count; ++k) {
      std::array<double, 5> rest{};
      size_t left = 0;
      for (size_t other = 0; other < count; ++other) {
        if (other != i && other != k) rest[left++] = values[other];
      }
      const double a = values[i], b = values[k];
      const std::array<double, 6> results = {
          a + b, a * b, a - b, b - a, b == 0 ? NAN : a / b, a == 0 ? NAN : b / a};
      for (const double result : results) {
        if (std::isnan(result)) continue;
        rest[left] = result;
        if (reaches(rest, left + 1, target)) return true;
      }
    }
  }
  return false;
}

}  // namespace

CountdownRow read_countdown_row(const Json& row, const std::string& place) {
  const Json* object = row.is_object() ? holder(row) : nullptr;
  if (object == nullptr) {
    fail(place + ": no \"nums\" (or \"numbers\") list and whole \"target\"",
         "each line looks like {\"nums\": [3, 5, 7], \"target\": 21}");
  }
  const Json list = as_list(object->contains("nums") ? (*object)["nums"] : (*object)["numbers"]);
  const std::optional<int64_t> target = whole((*object)["target"]);
  if (!list.is_array() || !target) {
    fail(place + ": nums " + shown(list) + " and target " + shown((*object)["target"]) +
             " are no list and whole number",
         "each line looks like {\"nums\": [3, 5, 7], \"target\": 21}");
  }
  CountdownRow out;
  for (const Json& value : list) {
    const std::optional<int64_t> number = whole(value);
    if (!number || *number < 0 || *number > kMost)
      fail(place + ": nums holds " + shown(value), "numbers are whole, 0..1000000");
    out.numbers.push_back(static_cast<int>(*number));
  }
  if (out.numbers.size() < 2 || out.numbers.size() > 16) {
    fail(place + ": nums has " + std::to_string(out.numbers.size()) + " numbers",
         "2..16 numbers are possible");
  }
  if (std::abs(*target) > kMost) fail(place + ": target out of range", "at most 1000000");
  out.target = static_cast<int>(*target);
  return out;
}

bool is_solvable(const std::vector<int>& numbers, int target) {
  std::array<double, 5> values{};
  if (numbers.size() > values.size()) return true;
  for (size_t i = 0; i < numbers.size(); ++i) values[i] = numbers[i];
  return reaches(values, numbers.size(), target);
}

}  // namespace zeroth
