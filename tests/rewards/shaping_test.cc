#include "rewards/shaping.h"

#include <doctest/doctest.h>

#include <memory>

#include "rewards/process.h"

using namespace zeroth;

namespace {
double latin(std::string_view text) {
  return language_consistency(text, std::vector<std::string>{"latin"});
}

Sample graded(double score, int tokens, FinishReason finish = FinishReason::kStop) {
  Sample s;
  for (int i = 0; i < tokens; ++i) s.tokens.push_back(i);
  s.finish = finish;
  Verdict v;
  v.name = "accuracy";
  v.score = score;
  s.verdicts = {v};
  s.reward = score;
  s.text = "<think>so 等等</think>";
  return s;
}
}  // namespace

TEST_CASE("language consistency counts words by script") {
  CHECK(latin("wait, that's wrong") == 1);
  CHECK(latin("") == 1);
  CHECK(latin("9+6=15") == 1);
  CHECK(latin("so 等等 no") == 0.5);  // two words, two characters
  CHECK(latin("да нет yes") == doctest::Approx(1.0 / 3));
  CHECK(latin("naïve café") == 1);
  CHECK(latin("<think>да</think>") == 0);  // tags are no words
  CHECK(latin("a\xff\xfe b") == 1);        // invalid bytes
  CHECK(latin("\xe4\xbd") == 1);           // cut character
  CHECK(language_consistency("これは漢字", std::vector<std::string>{"han", "kana"}) == 1);
  CHECK(language_consistency("wait 等", std::vector<std::string>{"han"}) == 0.5);
}

TEST_CASE("the script of a problem is that of most of its words") {
  CHECK(main_script("2 + 2 = ?") == "");
  CHECK(main_script("Numbers 3 5 target") == "latin");
  CHECK(main_script("求 x 的值") == "han");
  CHECK(main_script("да yes") == "cyrillic");  // the first of several
  const std::vector<std::string> problem = {"problem"}, both = {"latin", "problem"};
  CHECK(language_share("x 等等", "求 x 的值", problem) == doctest::Approx(2.0 / 3));
  CHECK(language_share("x 等等", "求 x 的值", both) == 1);
  CHECK(language_share("x 等等", "find x", problem) == doctest::Approx(1.0 / 3));
  CHECK(language_share("x 等等", "1+1=", problem) == 1);
  CHECK(language_share("x 等等", "1+1=", std::vector<std::string>{"latin"}) ==
        doctest::Approx(1.0 / 3));
}

TEST_CASE("repetition: distinct n-grams") {
  const std::vector<TokenId> loop = {1, 2, 1, 2, 1, 2};
  // bigrams: 12 21 12 21 12, two distinct of five
  CHECK(repeated_ngrams(loop, 2) == doctest::Approx(0.6));
  CHECK(repeated_ngrams(loop, 7) == 0);
  CHECK(repeated_ngrams(loop, 6) == 0);
  CHECK(repeated_ngrams({}, 1) == 0);
  std::vector<TokenId> distinct;
  for (int i = 0; i < 1000; ++i) distinct.push_back(i);
  CHECK(repeated_ngrams(distinct, 3) == 0);
}

TEST_CASE("cosine length: ends and middle") {
  CHECK(cosine_length(0, 100, 2, 1) == doctest::Approx(2));
  CHECK(cosine_length(100, 100, 2, 1) == doctest::Approx(1));
  CHECK(cosine_length(50, 100, -10, 0) == doctest::Approx(-5));
}

TEST_CASE("kimi length: the formula, bounds and the degenerate group") {
  const std::vector<int64_t> lengths = {10, 20, 30, 10};
  const bool right[] = {true, true, true, false};
  const std::vector<double> s = kimi_length(lengths, right);
  CHECK(s[0] == 0.5);
  CHECK(s[1] == 0);
  CHECK(s[2] == -0.5);
  CHECK(s[3] == 0);  // short and wrong gains nothing
  const bool wrong[] = {false, false, false, false};
  CHECK(kimi_length(lengths, wrong)[2] == -0.5);
  const std::vector<int64_t> same = {7, 7};
  const bool two[] = {true, false};
  CHECK(kimi_length(same, two) == std::vector<double>{0, 0});
  CHECK(kimi_length({}, {}).empty());
}

TEST_CASE("shape_group appends what is switched on, and leaves masked samples alone") {
  Group group;
  group.samples = {graded(1, 10), graded(0, 30), graded(1, 20, FinishReason::kLength),
                   graded(1, 500)};
  group.samples[3].masked = true;
  ShapingConfig config;
  shape_group(config, 100, group);
  CHECK(group.samples[0].verdicts.size() == 1);
  config.kimi_length_weight = 2;
  config.language_weight = 0.5;
  config.repetition_weight = 1;
  config.cosine_weight = 1;
  shape_group(config, 100, group);
  REQUIRE(group.samples[0].verdicts.size() == 5);
  CHECK(group.samples[0].verdicts[1].name == "language");
  CHECK(group.samples[0].verdicts[1].score == doctest::Approx(1.0 / 3));
  CHECK(group.samples[0].verdicts[3].score == 0.5);
  CHECK(group.samples[1].verdicts[3].score == -0.5);
  CHECK(group.samples[2].verdicts[4].score == -10);
  CHECK(group.samples[3].verdicts.size() == 1);
  config.scripts = {"latn"};
  CHECK_THROWS_WITH_AS(config.check(), doctest::Contains("did you mean \"latin\""), Error);
}

TEST_CASE("the process reward as shaping: a verdict of its own, or the weight of the task's") {
  Group group;
  group.samples = {graded(1, 4), graded(1, 4), graded(1, 4)};
  group.samples[0].text = "<think>1+1=2 2+2=5</think><answer>3+3=6</answer>";
  group.samples[1].verdicts.push_back(check_process("1+1=2"));
  group.samples[1].verdicts[1].weight = 0;
  group.samples[2].verdicts.push_back(check_process("1+1=2"));
  group.samples[2].verdicts[1].weight = 7;
  ShapingConfig config;
  config.process_weight = 4;
  shape_group(config, 100, group);
  CHECK(group.samples[0].verdicts[1].score == 0.5);
  CHECK(group.samples[0].verdicts[1].weight == 4);
  CHECK(group.samples[1].verdicts.size() == 2);
  CHECK(group.samples[1].verdicts[1].weight == 4);
  CHECK(group.samples[2].verdicts[1].weight == 7);
}

TEST_CASE("process reward checks every equation by itself") {
  EquationCount c = count_equations("9+6=15 15+9=24->24ok");
  CHECK(c.stated == 2);
  CHECK(c.right == 2);
  c = count_equations("7+8+1=16\n2+2=5\nso x=3 and 12=12, 10/4=2, 3*(2+1) = 9.");
  CHECK(c.stated == 4);
  CHECK(c.right == 2);
  CHECK(count_equations("8-36=-28").right == 1);
  CHECK(count_equations("1/2=0.5").stated == 0);  // decimals are not read
  CHECK(check_process("").reason == Reason::kNoAnswer);
  CHECK(check_process("1+1=2", 4).score == 0.25);
  CHECK(check_process("1+1=2 1+1=2 1+1=3 1+1=2 1+1=2", 4).score == doctest::Approx(0.8));
  std::string junk;
  for (int i = 0; i < 300000; ++i) junk += "1+";
  for (int i = 0; i < 300000; ++i) junk += "=1";
  CHECK(count_equations(junk).stated <= 1);
}

TEST_CASE("ranks within a group, by hand") {
  const std::vector<double> scores = {3, 1, 3, 9};
  CHECK(group_ranks(scores) == std::vector<double>{0.5, 0, 0.5, 1});
  CHECK(group_ranks(std::vector<double>{7}) == std::vector<double>{0.5});
  CHECK(group_ranks(std::vector<double>{2, 2, 2}) == std::vector<double>{0.5, 0.5, 0.5});

  Group group;
  for (const double score : {3.0, 1.0, 100.0, 9.0}) {
    Sample& sample = group.samples.emplace_back();
    sample.verdicts = {{"accuracy", 1, 1, Reason::kCorrect, "", Json::object()},
                       {"judge", score, 1, Reason::kShaped, "", Json::object()}};
  }
  group.samples[2].masked = true;  // takes no part
  ShapingConfig config;
  config.ranked = {"judge", "absent"};
  rank_group(config, group);
  CHECK(group.samples[0].verdicts[1].score == 0.5);
  CHECK(group.samples[1].verdicts[1].score == 0);
  CHECK(group.samples[2].verdicts[1].score == 100);
  CHECK(group.samples[3].verdicts[1].score == 1);
  CHECK(group.samples[3].verdicts[1].info["judge_score"] == 9);
  CHECK(group.samples[3].verdicts[0].score == 1);
}
