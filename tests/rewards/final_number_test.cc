#include "rewards/final_number.h"

#include <doctest/doctest.h>

#include "core/json_lines.h"
#include "core/rng.h"

using namespace zeroth;

TEST_CASE("final numbers: the table") {
  int rows = 0;
  for_each_json_line("tests/data/final_numbers.jsonl", [&](const Json& row, int64_t line) {
    CAPTURE(line);
    const auto text = row["text"].get<std::string>();
    const auto last = find_final_number(text, NumberPlace::kLast);
    CHECK((last ? Json(last->text) : Json()) == row["last"]);
    if (last) CHECK(last->end <= text.size());
    const auto marker = find_final_number(text, NumberPlace::kMarker);
    CHECK((marker ? Json(marker->text) : Json()) == row.value("marker", Json()));
    ++rows;
  });
  CHECK(rows >= 45);
}

TEST_CASE("verdicts") {
  CHECK(check_final_number("so 18.00 it is", "work\n#### 18").reason == Reason::kCorrect);
  CHECK(check_final_number("1,800", "#### 1800").score == 1);
  CHECK(check_final_number("#### 17\n18", "#### 18").reason == Reason::kWrong);
  CHECK(check_final_number("17 or 18 or 19", "#### 18").reason == Reason::kWrong);
  CHECK(check_final_number("18", "#### 18", /*strict=*/true).reason == Reason::kNoAnswer);
  CHECK(check_final_number("18", "none").reason == Reason::kBadGold);
  CHECK(check_final_number("eighteen", "18").reason == Reason::kNoAnswer);
  CHECK(check_final_number("so 18.00", "18").extracted == "18");
}

TEST_CASE("the statement of an answer, without remarks, reasons and denials") {
  const auto right = [](const char* text) { return check_final_number(text, "15").score == 1; };
  for (const char* text :
       {"15 (not 14)", "15 = 5*3", "5*3 = 15", "The answer is 15, since 3 trays are full.",
        "15, not 14", "The answer is 15 because 2 of them left.", "\\boxed{15}, as 3 shows",
        "Answer: 15 (3 rows of 5)", "It is not 14 but 15", "3 cats and 12 dogs, 15 in all",
        "Answer: 14\nno\nAnswer: 15"}) {
    CAPTURE(text);
    CHECK(right(text));
  }
  for (const char* text :
       {"14 (not 15)", "not 15", "The answer is not 15.", "15, which is wrong", "less than 15",
        "The answer is 14, since 15 fails.", "\\boxed{}", "\\boxed{15", "The answer is 15? No, 14.",
        "1\xFF"
        "5",
        "15\xFF", "15 is incorrect"}) {
    CAPTURE(text);
    CHECK(!right(text));
  }
}

TEST_CASE("numbers survive formatting with separators") {
  for (uint32_t i = 0; i < 5000; ++i) {
    Rng rng(3, i);
    const int64_t value = static_cast<int64_t>(rng.bits()) * (rng.chance(0.5) ? 1 : 1000) -
                          (rng.chance(0.3) ? 1u << 31 : 0);
    std::string digits = std::to_string(value < 0 ? -value : value), grouped;
    for (size_t k = 0; k < digits.size(); ++k) {
      if (k > 0 && (digits.size() - k) % 3 == 0) grouped += ',';
      grouped += digits[k];
    }
    const std::string text =
        "It is " + std::string(value < 0 ? "-" : "") + "$" + grouped + ".00, I think.";
    const auto found = find_final_number(text, NumberPlace::kLast);
    REQUIRE(found);
    CHECK(found->text == std::to_string(value));
  }
}

TEST_CASE("linear on junk") {
  for (const char* unit : {"1,", "1.", "1/", "-1", "$", "1e", "9"}) {
    std::string text;
    for (int i = 0; i < 300000; ++i) text += unit;
    find_final_number(text, NumberPlace::kLast);
  }
  CHECK(true);
}
