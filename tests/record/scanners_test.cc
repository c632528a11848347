#include "scan/scanners.h"

#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/json_lines.h"
#include "scan/formula.h"
#include "scan/step_stats.h"
#include "tests/record/samples.h"

using namespace zeroth;

namespace {

size_t list_index(const std::string& name) {
  const auto& lists = built_in_word_lists();
  return static_cast<size_t>(std::find_if(lists.begin(), lists.end(),
                                          [&](const WordList& list) { return list.name == name; }) -
                             lists.begin());
}

std::pair<int, int> counts(const std::string& text, const std::string& list) {
  static const WordMatcher matcher(built_in_word_lists());
  int whole = 0;
  int any = 0;
  for (const WordHit& hit : matcher.find(text)) {
    if (hit.list != list_index(list)) continue;
    ++any;
    whole += hit.whole;
  }
  return {whole, any};
}

const Task& countdown() {
  static const auto task = make_task("countdown", Json({{"count", 3}}));
  return *task;
}

Problem problem_963() {
  return {"countdown", "x", "Numbers 9 6 3 target 18", "9+6+3",
          Json({{"nums", {9, 6, 3}}, {"target", 18}})};
}

SampleScan scan_text(const std::string& text, const Task* task = &countdown()) {
  Group group;
  group.problem = problem_963();
  Sample sample;
  sample.text = text;
  if (task != nullptr) sample.verdicts = task->grade(group.problem, text, FinishReason::kStop);
  group.samples = {sample};
  return SampleScanner(task).scan(group)[0];
}

// As text: right and wrong candidates, then the flips.
std::string track(const SampleScan& scan) {
  std::string out;
  for (const Candidate& candidate : scan.candidates) {
    out += candidate.restated ? '=' : candidate.correct ? 'R' : 'W';
  }
  return out;
}

}  // namespace

TEST_CASE("words are whole words, as \\b of Unicode expressions has it") {
  CHECK(counts("Wait, WAIT wait.", "r1-nature") == std::pair{3, 3});
  CHECK(counts("button checked await", "r1-nature") == std::pair{0, 3});
  CHECK(counts("wait\xe2\x80\x94"
               "check",
               "r1-nature") == std::pair{2, 2});  // an em dash is no letter
  CHECK(counts("\xc3\xa9wait wait\xc3\xa9", "r1-nature") ==
        std::pair{0, 2});  // e with an accent is one
  CHECK(counts("wait_1 2wait", "r1-nature") == std::pair{0, 2});
  CHECK(counts("\xffwait\xff", "r1-nature") == std::pair{1, 1});
  CHECK(counts("let me re-evaluate and re-examine", "oat-zero") == std::pair{2, 2});
  CHECK(counts("try again, try  again", "oat-zero") == std::pair{1, 1});
  CHECK(counts("double-check", "drgrpo") == std::pair{1, 1});
  CHECK(counts("", "drgrpo") == std::pair{0, 0});
}

TEST_CASE("fenced code is left out, also when it is never closed") {
  CHECK(counts("wait ```wait wait``` wait", "r1-nature") == std::pair{2, 2});
  CHECK(counts("wait ```wait", "r1-nature") == std::pair{1, 1});
  CHECK(counts("wait `wait`", "r1-nature") == std::pair{2, 2});
}

TEST_CASE("candidates of a Countdown trace and their flips") {
  SampleScan scan =
      scan_text("<think>9-6=3 3*3=9->18no wait 9+6=15 15+3=18->18ok</think><answer>9+6+3</answer>");
  CHECK(track(scan) == "WR=");
  CHECK(scan.flips == std::array<int, kFlips>{1, 0, 0, 0});
  CHECK(scan.ahas.size() == 1);
  CHECK(scan.correct);
  // A new line instead of a marker: a flip, but no aha.
  scan = scan_text("<think>9-6=3 3*3=9->18no\n9+6=15 15+3=18->18ok</think><answer>9+6+3</answer>");
  CHECK(scan.flips[0] == 1);
  CHECK(scan.ahas.empty());
  // The answer differs from the last try.
  scan = scan_text("<think>9+6=15 15+3=18->18ok</think><answer>9-6-3</answer>");
  CHECK(track(scan) == "RW");
  CHECK(scan.flips == std::array<int, kFlips>{0, 1, 0, 0});
  // Brackets matter: the same characters without them are another value.
  scan = scan_text("<think>6*3=18 18-9=9->18no</think><answer>(9-6)*3</answer>");
  CHECK(track(scan) == "WW");
  // An abandoned try is no candidate.
  scan = scan_text("<think>9-6=3 wait 9+6=15 15+3=18->18ok</think><answer>9+6+3</answer>");
  CHECK(track(scan) == "R=");
  CHECK(scan.flips == std::array<int, kFlips>{});
  // Arithmetic that is wrong on paper is judged by what it really gives.
  scan = scan_text("<think>9-6=3 3*3=18->18ok</think><answer>(9-6)*3</answer>");
  CHECK(track(scan) == "W=");
}

TEST_CASE("flips of 60 traces of a real run, labelled by hand") {
  // tests/data/inspect/flips.jsonl: a candidate is right (R) when its formula gives the target by
  // the rules and its stated result says so; "flips" are W->R, R->W, R->R, W->W; an answer block
  // that repeats the last try is left out.
  int hits = 0;
  int found = 0;
  int labelled = 0;
  int agree = 0;
  for_each_json_line("tests/data/inspect/flips.jsonl", [&](const Json& row, int64_t line) {
    Group group;
    group.problem = {"countdown", "x", "", std::to_string(row["target"].get<int>()),
                     Json({{"nums", row["nums"]}, {"target", row["target"]}})};
    group.samples.resize(1);
    Sample& sample = group.samples[0];
    sample.text = row["text"].get<std::string>();
    sample.finish = row["finish"] == "stop" ? FinishReason::kStop : FinishReason::kLength;
    sample.verdicts = countdown().grade(group.problem, sample.text, sample.finish);
    const SampleScan scan = SampleScanner(&countdown()).scan(group)[0];
    const auto label = row["flips"].get<std::array<int, kFlips>>();
    hits += std::min(label[0], scan.flips[0]);
    found += scan.flips[0];
    labelled += label[0];
    agree += label == scan.flips;
    if (label != scan.flips)
      MESSAGE("line " << line << ": " << track(scan) << " for " << row["candidates"]);
  });
  MESSAGE("precision " << hits << "/" << found << ", recall " << hits << "/" << labelled
                       << ", all flips agree in " << agree << " of 60");
  CHECK(labelled == 38);
  CHECK(hits >= 0.95 * found);
  CHECK(hits >= 0.95 * labelled);
  CHECK(agree >= 57);
}

TEST_CASE("formulas have one name") {
  CHECK(canonical_formula("4*(5-1)") == canonical_formula("( 5 - 1 )*4"));
  CHECK(canonical_formula("(9+6)+3") == canonical_formula("3+6+9"));
  CHECK(canonical_formula("9-(6-3)") == canonical_formula("9+3-6"));
  CHECK(canonical_formula("12/(6/2)") == canonical_formula("12*2/6"));
  CHECK(canonical_formula("9-6*3") != canonical_formula("(9-6)*3"));
  CHECK(canonical_formula("(6*3)-9") != canonical_formula("(9-6)*3"));
  CHECK(canonical_formula("9-6") != canonical_formula("6-9"));
  CHECK_FALSE(canonical_formula("9+"));
  CHECK_FALSE(canonical_formula(std::string(100000, '(')));
}

TEST_CASE("first right candidate, truncation, no answer") {
  const SampleScan scan = scan_text("<think>9-6=3 3*3=9->18no wait 9+6=15 15+3=18->18ok");
  CHECK(track(scan) == "WR");
  CHECK(scan.first_correct == 30);  // where the second try begins
  CHECK_FALSE(scan.correct);
  CHECK(scan_text("").candidates.empty());
  CHECK(scan_text("<answer></answer>").candidates.empty());
}

TEST_CASE("without the task Countdown tries are still judged by their formulas") {
  const SampleScan scan = scan_text("<think>9-6=3 3*3=9->18no wait 9+6=15 15+3=18->18ok", nullptr);
  CHECK(track(scan) == "WR");
  CHECK(scan.markers.size() == 1);
}

TEST_CASE("loops") {
  std::vector<TokenId> tokens = {1, 2, 3};
  for (int i = 0; i < 10; ++i) tokens.insert(tokens.end(), {7, 8, 9});
  Loop loop = find_loop(tokens);
  CHECK(loop.period == 3);
  CHECK(loop.begin == 3);
  tokens.push_back(5);  // the cycle ended
  CHECK(find_loop(tokens).period == 0);
  CHECK(find_loop(std::vector<TokenId>(23, 4)).period == 0);
  loop = find_loop(std::vector<TokenId>(24, 4));
  CHECK(loop.period == 1);
  CHECK(loop.begin == 0);
  CHECK(find_loop({}).period == 0);
  CHECK(repeated_share(std::vector<TokenId>(104, 4)) == doctest::Approx(100.0 / 101));
  CHECK(repeated_share({1, 2, 3, 4, 5, 6}) == 0);
}

TEST_CASE("language switches") {
  CHECK(count_language_switches("plain English with x and \xce\xb1 alone") == 0);
  CHECK(count_language_switches("first \xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 then") ==
        2);
  CHECK(count_language_switches("so \xe7\xad\x94\xe6\xa1\x88 is") == 2);
  CHECK(count_language_switches("\xff\xfe") == 0);
}

TEST_CASE("own word lists and scanners") {
  TemporaryFolder folder;
  const auto write = [&](const std::string& text) {
    write_file_atomic(folder.path() / "list.json", text);
    return folder.path() / "list.json";
  };
  const WordList list = read_word_list(
      write(R"({"name": "mine", "version": 3, "words": ["Hmm", "on second thought"]})"));
  CHECK(list.words == std::vector<std::string>{"hmm", "on second thought"});
  CHECK_THROWS_WITH_AS(read_word_list(write(R"({"name": "oat-zero", "words": ["a"]})")),
                       doctest::Contains("built-in"), Error);
  CHECK_THROWS_WITH_AS(read_word_list(write(R"({"name": "x", "wrods": ["a"]})")),
                       doctest::Contains("wrods"), Error);
  CHECK_THROWS_WITH_AS(read_word_list(write(R"({"name": "x", "words": [1]})")),
                       doctest::Contains("no text"), Error);

  class Exclamations : public Scanner {
   public:
    std::string name() const override { return "exclamations"; }
    int version() const override { return 1; }
    double scan(const Problem&, const Sample& sample) const override {
      return static_cast<double>(std::count(sample.text.begin(), sample.text.end(), '!'));
    }
  };
  ScanOptions options;
  options.word_lists = {list};
  options.scanners = {std::make_shared<Exclamations>()};
  const SampleScanner scanner(nullptr, options);
  Group group;
  group.samples.resize(1);
  group.samples[0].text = "Hmm! On second thought!";
  const SampleScan scan = scanner.scan(group)[0];
  CHECK(scan.words.back() == 2);
  CHECK(scan.extra == std::vector<double>{2});
  CHECK(scanner.fingerprint() != SampleScanner(nullptr).fingerprint());
}

TEST_CASE("difference of shares: Newcombe's worked example") {
  // Newcombe (1998), table II, example (a): 56/70 - 48/80, method 10: 0.0524 to 0.3339.
  const ShareDifference gap = difference_of_shares(56, 70, 48, 80);
  CHECK(gap.value == doctest::Approx(0.2));
  CHECK(gap.low == doctest::Approx(0.0524).epsilon(0.001));
  CHECK(gap.high == doctest::Approx(0.3339).epsilon(0.001));
  CHECK(difference_of_shares(0, 0, 1, 2).n_with == 0);
}

TEST_CASE("sums survive the index") {
  Group group = random_group(5, 1, 0, 8, 60);
  for (Sample& sample : group.samples) sample.experts.assign(sample.tokens.size() * 4, 3);
  StepStats stats;
  stats.add(group, SampleScanner(nullptr).scan(group));
  for (const Sample& sample : group.samples) stats.add_experts(sample, {2, 2, 8});
  CHECK(stats.experts[1][3] == 2 * stats.tokens);
  CHECK(StepStats::from_json(Json::parse(stats.to_json().dump())).to_json() == stats.to_json());
}
