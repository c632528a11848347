#include "rollout/completion_text.h"

#include <doctest/doctest.h>

#include "tests/rollout/tiny_models.h"

namespace zeroth {
namespace {

struct Result {
  std::string text;
  size_t used;  // tokens until the completion ended, or all
  bool ended;
};

Result run(const std::vector<TokenId>& tokens, const std::vector<std::string>& stops) {
  const LetterTokenizer tokenizer;
  const StopStrings strings(stops);
  CompletionText text(&tokenizer, strings);
  std::vector<TokenId> used;
  for (const TokenId token : tokens) {
    used.push_back(token);
    if (text.append(token)) return {text.text(used), used.size(), true};
  }
  return {text.text(used), used.size(), false};
}

// a = 2, b = 3, ..., "aa" = 28 (28 % 4 == 0), "ee" = 32.
TEST_CASE("end-of-text ends a completion and leaves no text") {
  const Result result = run({2, 3, 1, 4}, {});
  CHECK(result.ended);
  CHECK(result.used == 3);
  CHECK(result.text == "ab");
}

TEST_CASE("a stop string across tokens is cut off, with what follows it in the last token") {
  Result result = run({2, 3, 4, 5, 6}, {"cd"});
  CHECK(result.text == "ab");
  CHECK(result.used == 4);
  result = run({2, 3, 32, 5}, {"be"});  // "a" "b" "ee"
  CHECK(result.text == "a");
  CHECK(result.used == 3);
  CHECK(run({2, 3}, {"ab"}).text.empty());
}

TEST_CASE("without a stop all text stays") {
  const Result result = run({2, 3, 4}, {"zz"});
  CHECK_FALSE(result.ended);
  CHECK(result.text == "abc");
}

TEST_CASE("special tokens are not in the text but can be stopped at") {
  CHECK(run({2, 0, 3}, {}).text == "ab");
  Result result = run({2, 3, 0, 4}, {"<pad>"});
  CHECK(result.used == 3);
  CHECK(result.text == "ab");
  result = run({2, 3, 0, 4}, {"b<pad>c"});
  CHECK(result.used == 4);
  CHECK(result.text == "a");
}

TEST_CASE("ids beyond the tokenizer stand for no text") {
  const Result result = run({2, kTinyVocab + 5, 3}, {"b"});
  CHECK(result.ended);
  CHECK(result.text == "a");
}

TEST_CASE("without a tokenizer nothing ends and there is no text") {
  const StopStrings none({});
  CompletionText text(nullptr, none);
  CHECK_FALSE(text.append(1));
  CHECK(text.text(std::vector<TokenId>{1}).empty());
}

}  // namespace
}  // namespace zeroth
