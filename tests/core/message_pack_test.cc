#include "core/message_pack.h"

#include <doctest/doctest.h>

#include "core/error.h"

namespace zeroth {
namespace {

TEST_CASE("a value comes back") {
  const Json value = {{"a", 1},
                      {"b", {1.5, "x", nullptr, true, -7}},
                      {"c", Json::binary({0, 255, 128})},
                      {"d", Json::object()}};
  CHECK(parse_message(pack_message(value), "test") == value);
}

TEST_CASE("every cut of a message is refused") {
  const std::string whole =
      pack_message({{"a", {1, 2, 3}}, {"b", Json::binary({1, 2, 3, 4})}, {"c", "text"}});
  for (size_t n = 0; n < whole.size(); ++n) {
    CAPTURE(n);
    CHECK_THROWS_AS(parse_message(whole.substr(0, n), "test"), Error);
  }
  CHECK_THROWS_AS(parse_message(whole + "x", "test"), Error);
}

TEST_CASE("depth, count, members and doubled keys are bounded") {
  CHECK_THROWS_WITH_AS(parse_message(std::string(1000000, '\x91'), "test"),
                       doctest::Contains("nested more than 16"), Error);
  MessageLimits few;
  few.values = 10;
  CHECK_THROWS_WITH_AS(parse_message(pack_message(Json(std::vector<int>(11, 1))), "test", few),
                       doctest::Contains("more than 10 values"), Error);
  CHECK(parse_message(pack_message(Json(std::vector<int>(9, 1))), "test", few).size() == 9);
  few = {};
  few.members = 2;
  CHECK_THROWS_WITH_AS(parse_message(pack_message({{"a", 1}, {"b", 1}, {"c", 1}}), "test", few),
                       doctest::Contains("more than 2 members"), Error);
  CHECK_THROWS_WITH_AS(parse_message("\x82\xa1"
                                     "a\x01\xa1"
                                     "a\x02",
                                     "test"),
                       doctest::Contains("twice"), Error);
  // Lengths that no message holds cost nothing.
  CHECK_THROWS_AS(parse_message(std::string("\xdd\xff\xff\xff\xff", 5), "test"), Error);
  CHECK_THROWS_AS(parse_message(std::string("\xc6\xff\xff\xff\xff", 5), "test"), Error);
}

}  // namespace
}  // namespace zeroth
