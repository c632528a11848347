#include "rewards/format.h"

#include <doctest/doctest.h>

#include "core/json_lines.h"

using namespace zeroth;

TEST_CASE("format and answer extraction: the table") {
  int rows = 0;
  for_each_json_line("tests/data/format_responses.jsonl", [&](const Json& row, int64_t line) {
    CAPTURE(line);
    const auto text = row["text"].get<std::string>();
    FormatRules rules;
    rules.think_opened = row.value("opened", false);
    rules.stopped_at_answer = row.value("stopped", false);
    rules.empty_think = !row.value("full_think", false);
    const Verdict v = check_format(text, rules, FinishReason::kStop);
    CHECK(v.score == row["format"].get<double>());
    CHECK(v.reason == (v.score == 1 ? Reason::kFormatOk : Reason::kFormatBad));
    CHECK(v.info.contains("why") == (v.score == 0));
    const ResponseParts parts = split_response(text, rules);
    if (row["answer"].is_null()) {
      CHECK(parts.reason == Reason::kNoAnswer);
      CHECK(parts.answer.empty());
      CHECK(std::string(parts.why) != "");
    } else {
      CHECK(parts.reason == Reason::kNone);
      CHECK(parts.answer == row["answer"].get<std::string>());
    }
    // A well-formed response always has an answer.
    if (v.score == 1) CHECK(parts.reason == Reason::kNone);
    ++rows;
  });
  CHECK(rows >= 35);
}

TEST_CASE("a cut response is truncated, not malformed") {
  CHECK(check_format("<think>a", {}, FinishReason::kLength).reason == Reason::kTruncated);
  CHECK(split_response("<think>abc", {}).think == "abc");
  CHECK(!split_response("<think>abc", {}).think_closed);
}

TEST_CASE("a million tags are no trouble") {
  std::string text;
  for (int i = 0; i < 300000; ++i) text += "<think></think><answer>";
  CHECK(check_format(text, {}, FinishReason::kStop).score == 0);
  CHECK(split_response(text, {}).reason == Reason::kNoAnswer);
}
