#include "text/token_spans.h"

#include <doctest/doctest.h>

using namespace zeroth;

namespace {

std::vector<char> inside(const Tokenizer& tokenizer, const std::string& text,
                         std::vector<TextSpan> spans) {
  const auto found = tokens_in_spans(tokenizer, text, tokenizer.encode(text), spans);
  REQUIRE(found.has_value());
  return *found;
}

}  // namespace

TEST_CASE("tokens that share a byte with a span") {
  const auto tokenizer = Tokenizer::load("tests/data/tiny_base");  // a token a byte
  CHECK(inside(*tokenizer, "abcd", {{1, 3}}) == std::vector<char>{0, 1, 1, 0});
  CHECK(inside(*tokenizer, "abcd", {{0, 1}, {3, 4}}) == std::vector<char>{1, 0, 0, 1});
  CHECK(inside(*tokenizer, "abcd", {{2, 2}}) == std::vector<char>{0, 0, 0, 0});
  const auto merged = Tokenizer::load("tests/data/sft");
  const std::string text = "The answer";
  const auto ids = merged->encode(text);
  for (size_t end = 1; end <= text.size(); ++end) {
    const auto found = tokens_in_spans(*merged, text, ids, std::vector<TextSpan>{{0, end}});
    REQUIRE(found.has_value());
    size_t at = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      CHECK(static_cast<bool>((*found)[i]) == (at < end));
      at += merged->token_bytes(ids[i]).size();
    }
  }
}

TEST_CASE("code points begin at these bytes") {
  CHECK(code_point_offsets("") == std::vector<size_t>{0});
  CHECK(code_point_offsets("aß€😀") == std::vector<size_t>{0, 1, 3, 6, 10});
}
