#include <doctest/doctest.h>

#include "rewards/code/code_columns.h"
#include "rewards/code/output.h"
#include "rewards/code/value.h"

using namespace zeroth;

namespace {

PyValue value(const std::string& json, bool plain = false) {
  PyValue v;
  REQUIRE_MESSAGE(parse_value(json, plain, v), json);
  return v;
}

bool same(const std::string& a, const std::string& b, const CompareOptions& options = {}) {
  return equal(value(a), value(b), options);
}

// Expected values of data sets.
bool close_to_json(const std::string& a, const std::string& json) {
  return equal(value(a), value(json, true), {.from_json = true, .float_tolerance = 1e-6});
}

}  // namespace

TEST_CASE("code values: numbers of every kind as Python compares them") {
  CHECK(same("1", "true"));
  CHECK(same("0.5", R"({"q": ["1", "2"]})"));
  CHECK_FALSE(same("0.1", R"({"q": ["1", "10"]})"));
  CHECK(same(R"({"q": ["6", "3"]})", "2"));
  CHECK(same("1e300", "1e300"));
  CHECK_FALSE(same("1e300", "1" + std::string(300, '0')));
  CHECK(same("1e22", "1" + std::string(22, '0')));
  CHECK_FALSE(same(R"({"f": "nan"})", R"({"f": "nan"})"));
  CHECK(same(R"({"f": "inf"})", R"({"f": "inf"})"));
  CHECK_FALSE(same(R"({"q": ["1", "0"]})", R"({"q": ["1", "0"]})"));
  CHECK(same(R"({"c": ["1.0", "0.0"]})", "1"));
}

TEST_CASE("code values: sets and dicts of many members, in any order") {
  std::string forward, backward, pairs, other;
  for (int i = 0; i < 50000; ++i) {
    const std::string a = std::to_string(i), b = std::to_string(49999 - i);
    forward += (i > 0 ? "," : "") + a;
    backward += (i > 0 ? "," : "") + b + ".0";
    pairs += (i > 0 ? ",[" : "[") + a + ",[" + a + "]]";
    other += (i > 0 ? ",[" : "[") + b + ",[" + b + "]]";
  }
  CHECK(same("{\"s\": [" + forward + "]}", "{\"s\": [" + backward + "]}"));
  CHECK(same("{\"d\": [" + pairs + "]}", "{\"d\": [" + other + "]}"));
  CHECK_FALSE(same("{\"s\": [1, 2]}", "{\"s\": [1, 3]}"));
  CHECK_FALSE(same("{\"s\": [1, 2]}", "[1, 2]"));
  CHECK_FALSE(same(R"({"d": [[1, "a"]]})", R"({"d": [["1", "a"]]})"));
  CHECK(same(R"({"s": [{"t": [1, "a"]}, {"s": [2, 1]}]})",
             R"({"s": [{"s": [1, 2]}, {"t": [1.0, "a"]}]})"));
  CHECK_FALSE(same(R"({"s": [{"f": "nan"}]})", R"({"s": [{"f": "nan"}]})"));
}

TEST_CASE("code values: expected values that were written as JSON") {
  CHECK(close_to_json(R"({"d": [[1, "x"]]})", R"({"1": "x"})"));
  CHECK(close_to_json(R"({"d": [[true, 1], [1.5, 2], [null, 3]]})",
                      R"({"true": 1, "1.5": 2, "null": 3})"));
  CHECK(close_to_json(R"({"t": [1, {"t": [2]}]})", "[1, [2]]"));
  CHECK(close_to_json("[0.30000000000000004]", "[0.3]"));
  CHECK(close_to_json("1", "1.0"));
  CHECK_FALSE(close_to_json("0.31", "0.3"));
  // Whole numbers are never rounded.
  CHECK_FALSE(close_to_json("3.0000001", "3"));
  CHECK_FALSE(close_to_json("1000000007", "1000000008"));
  CHECK_FALSE(close_to_json("\"2\"", "2"));
  CHECK_FALSE(close_to_json(R"({"s": [1]})", "[1]"));
}

TEST_CASE("code values: output word by word") {
  const std::pair<const char*, const char*> right[] = {
      {"7\n", "7"},        {"1  2 \n\n", "1 2"},
      {"1\n2", "1 2"},     {"0.3333333333333333", "0.333333"},
      {"0.5", "0.500000"}, {"3.0", "3"},
      {"2e3", "2000"},     {"-0.0", "0"},
      {"nan", "nan"},      {"", ""},
      {"1e-7", "0.0"},     {"123456.7891", "123456.789"},
      {"Yes", "Yes"},      {"\t1\r\n", "1\n"}};
  for (const auto& [printed, expected] : right) {
    INFO(printed, " for ", expected);
    CHECK(same_output(printed, expected));
  }
  const std::pair<const char*, const char*> wrong[] = {
      {"8", "7"},      {"", "7"},           {"7 7", "7"},
      {"007", "7"},    {"3.0000001", "3"},  {"0.34", "0.33"},
      {"yes", "Yes"},  {"1,2", "1 2"},      {"1000000008.0", "1000000007"},
      {"0.3", "0.33"}, {"[1, 2]", "[1,2]"}, {"inf", "1.0"},
      {"0x10", "16"},  {"nan", "1.5"}};
  for (const auto& [printed, expected] : wrong) {
    INFO(printed, " for ", expected);
    CHECK_FALSE(same_output(printed, expected));
  }
}

TEST_CASE("code columns: packed cases hold texts and nothing else") {
  // base64(zlib(pickle.dumps('[{"input": "1", "output": "2"}]')))
  CHECK(unpack_cases("eJxrYJmqzAABPfLR1UqZeQWlJUpWCkqGSjoKSvmlJVCukVJt7BQ9APfMC64=") ==
        R"([{"input": "1", "output": "2"}])");
  // pickle.dumps({'a': print}) would call something when Python read it.
  CHECK(unpack_cases("eJxrYJkqywABtVN6GBOn9HAklWbmlGTmFU/pYS0oyswrmTJ5SrEeAOQnDXY=").empty());
  CHECK(unpack_cases("").empty());
  CHECK(unpack_cases("eJ!!").empty());
  CHECK(unpack_cases("eJwDAAAAAAE=").empty());
}
