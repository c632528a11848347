// Extraction, options, budgets and threads of the math grader.
#include <doctest/doctest.h>

#include <thread>

#include "rewards/math/math_case.h"
#include "rewards/math/math_grader.h"
#include "rewards/math/unicode.h"

using namespace zeroth;

namespace {

double score(const std::string& gold, const std::string& pred, MathOptions options = {}) {
  return grade_math(gold, pred, options).score;
}

std::string repeat(const std::string& text, int count) {
  std::string out;
  for (int i = 0; i < count; ++i) out += text;
  return out;
}

}  // namespace

TEST_CASE("the last box counts, and an unterminated last box is no answer") {
  CHECK(score("5", "\\boxed{4} text text \\boxed{5}") == 1);
  CHECK(score("4", "\\boxed{4} text text \\boxed{5}") == 0);
  CHECK(grade_math("5", "\\boxed{5} no wait, \\boxed{6").reason == Reason::kNoAnswer);
  CHECK(score("1,2", "\\boxed{1} and \\boxed{2}") == 1);
  CHECK(score("2", "\\boxed{1} and \\boxed{2}") == 0);
  CHECK(score("5", "\\fbox{5}") == 1);
  CHECK(score("\\{1,2\\}", "\\boxed{\\{1,2\\}}") == 1);
}

TEST_CASE("answers outside a box: phrases, formulas, the last number") {
  CHECK(score("42", "Answer: 41 at first.\nAnswer: 42") == 1);
  CHECK(score("42", "The final answer is $42$. I hope it is correct.") == 1);
  CHECK(score("\\frac{1}{2}", "so we get $x = \\frac{1}{2}$.") == 1);
  CHECK(score("1000.99", "it costs 10 less, that is 1,000.99 EUR") == 1);
  CHECK(score("7", "there are 3 cats and 4 dogs, 7 in all") == 1);
  CHECK(grade_math("7", "I do not know").score == 0);
  CHECK(grade_math("7", "").reason == Reason::kNoAnswer);
}

TEST_CASE("think and answer tags") {
  MathOptions think;
  think.format = AnswerFormat::kThink;
  CHECK(score("42", "<think>\\boxed{41}</think> \\boxed{42}", think) == 1);
  CHECK(score("41", "<think>\\boxed{41}</think> \\boxed{42}", think) == 0);
  CHECK(grade_math("42", "<think>\\boxed{42}", think).reason == Reason::kNoAnswer);
  CHECK(grade_math("42", "\\boxed{42}", think).reason == Reason::kNoAnswer);
  MathOptions tag;
  tag.format = AnswerFormat::kAnswerTag;
  CHECK(score("42", "<think>so</think><answer>42</answer>", tag) == 1);
  CHECK(score("42", "<answer>41</answer><answer>42</answer>", tag) == 1);
  CHECK(score("42", "<answer>42", tag) == 0);
  CHECK(score("42", "42", tag) == 0);
  // Thinking that never ends came to no answer, in every format and wherever it began.
  CHECK(score("42", "<answer>42</answer><think>", tag) == 0);
  for (const char* open :
       {"<think>\\boxed{42}", "So. <think>\\boxed{42}", "<think><think>\\boxed{42}",
        "<think>a</think> b <think>\\boxed{42}", "<thinking>\\boxed{42}",
        "<|begin_of_thought|>\\boxed{42}", "<THINK>42"}) {
    CAPTURE(open);
    CHECK(grade_math("42", open).reason == Reason::kNoAnswer);
  }
}

TEST_CASE("a gold that says nothing is counted, not scored") {
  for (const char* gold : {"", " ", "$$", "\\boxed{}", "."}) {
    CAPTURE(gold);
    CHECK(grade_math(gold, "\\boxed{5}").reason == Reason::kBadGold);
    CHECK(grade_math(gold, gold).score == 0);
  }
}

TEST_CASE("options") {
  MathOptions two;
  two.float_rounding = 2;
  CHECK(score("\\frac{1}{3}", "0.33", two) == 1);
  CHECK(score("\\frac{1}{3}", "0.34", two) == 0);
  MathOptions loose;
  loose.strict = false;
  CHECK(score("x+1", "y+1") == 0);
  CHECK(score("x+1", "y+1", loose) == 1);
  CHECK(score("x+2y", "y+2x", loose) == 1);
  CHECK(score("x+2y", "y+3x", loose) == 0);
  CHECK(score("(1,2,3)", "\\boxed{3,2,1}", loose) == 1);
  MathOptions relation;
  relation.allow_set_relation_comp = true;
  CHECK(score("(1,2)", "$1<x<2$") == 0);
  CHECK(score("(1,2)", "$1<x<2$", relation) == 1);
}

TEST_CASE("targets choose what is looked for") {
  MathOptions latex, words;
  latex.targets = {MathTarget{}};
  CHECK(score("9", "Answer $9$", latex) == 1);
  CHECK(grade_math("9", "Answer 9", latex).reason == Reason::kNoAnswer);
  MathTarget choice;
  choice.kind = MathTarget::Kind::kString;
  words.targets = {choice};
  CHECK(score("A", "A. Because B is not valid", words) == 1);
  CHECK(score("B", "the answer is A, not B", words) == 0);
  CHECK(grade_math("A", "nothing", words).reason == Reason::kNoAnswer);
}

TEST_CASE("over budget is opaque: equal by structure only") {
  CHECK(score("9^{9^{9}}", "\\boxed{9^{9^{9}}}") == 1);
  CHECK(score("9^{9^{9}}", "\\boxed{9^{9^{8}}}") == 0);
  CHECK(score("10000!", "\\boxed{10000!}") == 1);
  CHECK(score("10000!", "\\boxed{10001!}") == 0);
  CHECK(score("x^{9^{9^9}}", "\\boxed{x^{9^{9^9}}}") == 1);
  CHECK(grade_math("1", "\\boxed{" + repeat("1+", 3000) + "1}").reason == Reason::kOverBudget);
  CHECK(score("1", "\\boxed{" + repeat("(", 1500) + "1" + repeat(")", 1500) + "}") == 0);
  CHECK(score("1", "\\boxed{" + repeat("\\sqrt{", 600) + "1" + repeat("}", 600) + "}") == 0);
  CHECK(score("1", "\\boxed{" + repeat("-", 1500) + "1}") <= 1);
  CHECK(score("1", "\\boxed{" + repeat("2^", 900) + "1}") == 0);
  CHECK(score("1", "\\boxed{" + repeat("1/", 900) + "2}") == 0);
  const std::string wide = repeat("\\sin(x", 60) + repeat(")", 60);
  CHECK(score(wide, "\\boxed{" + wide + "+1}") == 0);
}

TEST_CASE("small inputs with huge trees, and long ones with many marks, end at once") {
  // Entries of a power share their nodes: a small pool, a tree of 10^12 nodes.
  std::string matrix = "\\begin{pmatrix}";
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j)
      matrix += "\\sin(" + std::to_string(i + j) + "x)" + (j < 3 ? "&" : "\\\\");
  }
  matrix += "\\end{pmatrix}^{16}";
  const MathVerdict v = grade_math("5", "\\boxed{" + matrix + "}");
  CHECK(v.score == 0);
  CHECK(v.reason == Reason::kOverBudget);
  // Quadratic extraction would take minutes here.
  for (const char* mark : {"\\text{",
                           "\\[",
                           "$",
                           "\\boxed{",
                           "\\boxed{5} is wrong ",
                           "answer ",
                           "answer is not ",
                           "Answer: 5\n",
                           "#### 5\n",
                           "<think>",
                           "<answer>",
                           "</answer>",
                           "<",
                           "5 ",
                           "5 or ",
                           "between 1 and ",
                           "(A) ",
                           "\xE7\xAD\x94\xE6\xA1\x88",
                           "\xFF",
                           "choose E "}) {
    CAPTURE(mark);
    CHECK(grade_math("7", repeat(mark, 300'000)).score == 0);
  }
}

TEST_CASE("unicode is read as mathematics, look-alikes are not") {
  CHECK(score("x^2", "\\boxed{x\xC2\xB2}") == 1);
  CHECK(score("\\frac{\\pi}{2}", "\\boxed{\xCF\x80/2}") == 1);
  CHECK(score("x+1", "\\boxed{\xD1\x85+1}") == 0);
  CHECK(score("\\sqrt{12}",
              "\\boxed{\xE2\x88\x9A"
              "12}") == 1);
  CHECK(math::to_ascii_latex("\xE2\x89\xA4") == "\\leq ");
  CHECK(math::to_ascii_latex("a\xFF\xFE"
                             "b") ==
        "a\x01"
        "fffd\x02\x01"
        "fffd\x02"
        "b");
  CHECK(math::to_ascii_latex("x\xE2\x81\xBB\xC2\xB9") == "x^{-1}");
  CHECK(math::to_ascii_latex("\f"
                             "rac12") == "\\frac12");
  CHECK(math::valid_utf8("\xC0\xAF"
                         "a\xED\xA0\x80") == "a");
}

TEST_CASE("bytes that are no text, and controls, join no digits") {
  for (const char* gold : {"42", "4", "2"}) {
    CAPTURE(gold);
    CHECK(score(gold,
                "4\xFF"
                "2") == 0);
    CHECK(score(gold,
                "The answer is 4\xFF"
                "2.") == 0);
    CHECK(score(gold,
                "\\boxed{4\xFF"
                "2}") == 0);
    CHECK(score(gold,
                "\\boxed{4\x01"
                "2}") == 0);
    CHECK(score(gold, std::string("\\boxed{4\0"
                                  "2}",
                                  11)) == 0);
  }
  CHECK(score("42", "\xFF\xFE Well: \\boxed{42}") == 1);
}

TEST_CASE("sums beyond the budget say so; those within are unrolled") {
  CHECK(score("500500", "\\boxed{\\sum_{k=1}^{1000}k}") == 1);
  CHECK(grade_math("500501", "\\boxed{\\sum_{k=1}^{1000}k}").reason == Reason::kWrong);
  CHECK(grade_math("50005000", "\\boxed{\\sum_{k=1}^{10000}k}").reason == Reason::kOverBudget);
  CHECK(score("\\sum_{k=1}^{10000}k", "\\boxed{\\sum_{k=1}^{10000}k}") == 1);
}

TEST_CASE("an answer that calls itself wrong is none") {
  for (const char* text : {"\\boxed{42} is wrong.", "\\boxed{42}. But that is not correct.",
                           "The answer is 42, which is incorrect.", "The answer is $42$ (wrong)",
                           "I know that it is not $\\boxed{42}$", "The answer cannot be 42."}) {
    CAPTURE(text);
    CHECK(grade_math("42", text).reason == Reason::kWrong);
  }
  CHECK(score("42", "41 is wrong. The answer is 42.") == 1);
  CHECK(score("42", "The answer is 42, and it is not hard to see why.") == 1);
}

TEST_CASE("without the verbatim shortcut a gold is read as any other answer") {
  MathOptions read;
  read.verbatim = false;
  for (const char* gold : {"42", "5*3=<<5*3=15>>15\n#### 15", "#### 15", "$\\frac{1}{2}$", "['3']",
                           "It takes a while.\nTherefore, the answer is: 150."}) {
    CAPTURE(gold);
    CHECK(score(gold, gold, read) == 1);
  }
  CHECK(score("5*3=<<5*3=15>>15\n#### 15", "<answer>15</answer>") == 1);
  CHECK(score("5*3=<<5*3=15>>15\n#### 15", "<answer>3</answer>") == 0);
}

TEST_CASE("threads get the verdicts that one thread gets, byte for byte") {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"\\sin 2x", "\\boxed{2\\sin x\\cos x}"},
      {"\\sqrt{3+2\\sqrt 2}", "\\boxed{1+\\sqrt2}"},
      {"(0,1)\\cup(1,2)", "\\boxed{(0,2)\\setminus\\{1\\}}"},
      {"xy=1", "\\boxed{y=1/x}"},
      {"1", "\\boxed{2}"}};
  MathOptions forms;
  forms.forms = true;
  CHECK(grade_math("1/2", "\\boxed{0.5}", forms).gold_form == "1/2");
  CHECK(grade_math("1/2", "\\boxed{0.5}").gold_form.empty());
  auto all = [&] {
    std::string out;
    for (int i = 0; i < 50; ++i) {
      for (const auto& [gold, pred] : pairs) {
        const MathVerdict v = grade_math(gold, pred, forms);
        out += std::to_string(v.score) + to_string(v.reason) + v.gold_form + v.pred_form + "\n";
      }
    }
    return out;
  };
  const std::string expected = all();
  std::vector<std::string> results(4);
  std::vector<std::thread> threads;
  for (auto& result : results) threads.emplace_back([&result, &all] { result = all(); });
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) CHECK(result == expected);
}

TEST_CASE("rows of grading files") {
  const MathCase c =
      read_math_case(parse_json(R"({"id":1,"gold":"5","pred_gen":[["a",2],["b",1]],"mode":"think",
      "targets":[{"type":"string","strings":["X"]}],"opts":{"float_rounding":3,"strict":false}})",
                                "row"),
                     "row");
  CHECK(c.pred == "aab");
  CHECK(c.options.format == AnswerFormat::kThink);
  CHECK(c.options.targets[0].strings[0] == "X");
  CHECK(c.options.float_rounding == 3);
  CHECK(!c.options.strict);
  CHECK(!c.expected);
  for (const char* bad :
       {R"({"pred":"5"})", R"({"gold":"5"})", R"({"gold":"5","pred":["5"]})",
        R"({"gold":"5","pred_hex":"5"})", R"({"gold":"5","pred_hex":"zz"})",
        R"({"gold":"5","pred_gen":[["a",1000000000000]]})", R"({"gold":"5","pred":"5","mode":"x"})",
        R"({"gold":"5","pred":"5","opts":{"float_rouding":3}})", R"([1])",
        R"({"gold":"5","pred":"5","targets":[{"type":"x"}]})"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(read_math_case(parse_json(bad, "row"), "row"), Error);
  }
}
