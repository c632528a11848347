#include "rollout/stop_matcher.h"

#include <doctest/doctest.h>

#include <random>

#include "core/error.h"

namespace zeroth {
namespace {

// Feeds `text` cut after every `piece` bytes; returns {begin, end} of the match or {-1, -1}.
std::pair<int64_t, int64_t> match(const std::vector<std::string>& stops, const std::string& text,
                                  size_t piece) {
  const StopStrings strings(stops);
  StopMatcher matcher(strings);
  for (size_t i = 0; i < text.size(); i += piece) {
    if (matcher.feed(std::string_view(text).substr(i, piece))) {
      return {matcher.match_begin(), matcher.match_end()};
    }
  }
  return {-1, -1};
}

// The rule itself: the match that ends first, of those the longest.
std::pair<int64_t, int64_t> by_rule(const std::vector<std::string>& stops,
                                    const std::string& text) {
  for (size_t end = 1; end <= text.size(); ++end) {
    int64_t begin = -1;
    for (const std::string& stop : stops) {
      if (stop.size() > end || text.compare(end - stop.size(), stop.size(), stop) != 0) continue;
      const int64_t start = static_cast<int64_t>(end - stop.size());
      if (begin < 0 || start < begin) begin = start;
    }
    if (begin >= 0) return {begin, static_cast<int64_t>(end)};
  }
  return {-1, -1};
}

TEST_CASE("a stop string is found however the text is cut") {
  const std::string text = "so <answer> 4 </answ</answer> and more";
  for (size_t piece = 1; piece <= text.size(); ++piece) {
    CHECK(match({"</answer>"}, text, piece) == std::pair<int64_t, int64_t>(20, 29));
    CHECK(match({"nowhere"}, text, piece) == std::pair<int64_t, int64_t>(-1, -1));
  }
}

TEST_CASE("the first match to end wins, then the longest") {
  CHECK(match({"bcd", "abcde", "bc"}, "xabcde", 2) == std::pair<int64_t, int64_t>(2, 4));
  CHECK(match({"cd", "abcd", "bcd"}, "xabcde", 6) == std::pair<int64_t, int64_t>(1, 5));
}

TEST_CASE("the matcher agrees with the rule on random periodic text") {
  std::mt19937 random(7);
  int found = 0;
  for (int round = 0; round < 3000; ++round) {
    const auto word = [&](size_t longest) {
      std::string text(1 + random() % longest, 'a');
      for (char& c : text) c = static_cast<char>('a' + random() % 2);
      return text;
    };
    std::vector<std::string> stops;
    for (size_t i = 0; i < 1 + random() % 3; ++i) stops.push_back(word(7));
    const std::string text = word(40);
    const auto expected = by_rule(stops, text);
    found += expected.first >= 0;
    CHECK(match(stops, text, 1 + random() % 6) == expected);
  }
  CHECK(found > 500);
  CHECK(found < 3000);
}

TEST_CASE("bytes are compared as they are") {
  const std::string zero("a\0b", 3);
  CHECK(match({std::string("\0b", 2)}, zero, 1) == std::pair<int64_t, int64_t>(1, 3));
  CHECK(match({"\xF0\x9F\x98\x80"}, "x\xF0\x9F\x98\x80", 1) == std::pair<int64_t, int64_t>(1, 5));
}

TEST_CASE("an empty stop string is refused") {
  CHECK_THROWS_AS(StopStrings({"a", ""}), Error);
  CHECK(StopStrings({}).empty());
}

}  // namespace
}  // namespace zeroth
