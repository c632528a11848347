#include <doctest/doctest.h>

#include "core/error.h"
#include "core/json_text.h"

using namespace zeroth;

namespace {

std::string error_of(const std::string& text, const JsonBounds& bounds = {}) {
  try {
    parse_json(text, "row.json", bounds);
  } catch (const Error& error) {
    CHECK_FALSE(try_parse_json(text, bounds));
    return error.what();
  }
  CHECK(try_parse_json(text, bounds));
  return "";
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

std::string nested(size_t levels) {
  std::string text;
  for (size_t i = 0; i < levels; ++i) text += i % 2 == 0 ? "[" : "{\"a\":";
  text += "1";
  for (size_t i = levels; i-- > 0;) text += i % 2 == 0 ? "]" : "}";
  return text;
}

}  // namespace

TEST_CASE("json: 128 levels are read, one more is an error, whatever stands before them") {
  const size_t limit = 128;
  for (const std::string before : {"", "/* \" */", "// \"\n", "/* [[ ]]]] */",
                                   "\n\t/**/ // '\"'\n/* \\\" */", "\xef\xbb\xbf"}) {
    CAPTURE(before);
    CHECK(error_of(before + nested(limit)) == "");
    CHECK(has(error_of(before + nested(limit + 1)), "row.json: JSON is nested more than 128 deep"));
    CHECK(has(error_of(before + nested(200000)), "nested more than 128 deep"));
    CHECK(has(error_of(before + std::string(200000, '[')), "nested"));
    CHECK(has(error_of(before + nested(7), {6}), "nested more than 6 deep"));
    CHECK(error_of(before + nested(6), {6}) == "");
  }
  // Between members, behind a string with quotes, and in a key.
  CHECK(has(error_of("{\"a\": \"\\\\\\\"[\", /* \" */ \"b\": " + nested(200) + "}"), "nested"));
  CHECK(has(error_of("{\"[[\\\"\" /* \" */ : " + nested(128) + "}"), "nested"));
  CHECK(has(error_of("[1, /* \" */ " + nested(128) + "]"), "nested"));
}

TEST_CASE("json: brackets in strings and comments, and lists side by side, are no depth") {
  const Json wide = parse_json("[\"" + std::string(1000, '[') + "\", /*" + std::string(1000, '{') +
                                   "*/ [1], [2], [3]] // " + std::string(1000, '['),
                               "wide");
  CHECK(wide.size() == 4);
  std::string lists = "[";
  for (int i = 0; i < 1000; ++i) lists += "[[]],";
  CHECK(parse_json(lists + "{}]", "lists").size() == 1001);
}

TEST_CASE("json: values of every kind come back in the order of the file") {
  const std::string text =
      R"({"z": [null, true, false, -3, 18446744073709551615, 1.5e3, "\u00e9\n"], "a": {"b": {}}, "c": []})";
  CHECK(parse_json(text, "kinds").dump() ==
        "{\"z\":[null,true,false,-3,18446744073709551615,1500.0,\"\xc3\xa9\\n\"],\"a\":{\"b\":{}},"
        "\"c\":[]}");
  for (const char* scalar : {"1", "\"x\"", "null", "true", "-0.5"}) {
    CHECK(parse_json(scalar, "scalar").dump() == scalar);
  }
}

TEST_CASE("json: of equal keys the last counts, in objects of any size") {
  CHECK(parse_json(R"({"a": 1, "b": 2, "a": 3})", "twice").dump() == R"({"a":3,"b":2})");
  std::string text = "{";
  const int keys = 200000;  // hours where each key is compared with every earlier one
  for (int i = 0; i < keys; ++i) {
    text += "\"k" + std::to_string(i) + "\":" + std::to_string(i) + ",";
  }
  const Json many =
      parse_json(text + "\"k7\": \"seven\", \"k199999\": \"last\", \"new\": 0}", "many");
  REQUIRE(many.size() == keys + 1);
  CHECK(many["k7"] == "seven");
  CHECK(many["k31"] == 31);
  CHECK(many["k32"] == 32);
  CHECK(many["k199999"] == "last");
  CHECK(many.items().begin().key() == "k0");
  CHECK(many.back() == 0);
}

TEST_CASE("json: malformed text is an error with its place") {
  CHECK(has(error_of("{\n \"a\": }"), "row.json: not valid JSON at line 2, column"));
  CHECK(has(error_of("[1, 1e999]"), "row.json: not valid JSON: "));
  CHECK(has(error_of("[1, 1e999]"), "1e999"));
  for (const std::string text : {"", " ", "[1,]", "{\"a\" 1}", "[1] 2", "/* [1]", "nul", "\"\xff\"",
                                 "[1", "]", "{\"a\": NaN}", "\"\\ud800\""}) {
    CAPTURE(text);
    CHECK(has(error_of(text), "row.json: not valid JSON"));
  }
}

TEST_CASE("json: members and elements are counted where their number is bounded") {
  const JsonBounds ten{128, 10};
  CHECK(error_of("[1, [2, 3], {\"a\": 4, \"b\": [5]}]", ten) == "");
  CHECK(has(error_of("[1, [2, 3], {\"a\": 4, \"b\": [5, 6, 7]}]", ten), "more than 10 values"));
  CHECK(has(error_of("[" + std::string(2000, ' ') + "[],[],[],[],[],[],[],[],[],[],[]]", ten),
            "more than 10 values"));
}
