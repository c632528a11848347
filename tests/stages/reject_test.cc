#include "stages/reject.h"

#include <doctest/doctest.h>

#include "core/error.h"

using namespace zeroth;

namespace {

Sample sample(const std::string& text, double score, size_t tokens = 3) {
  Sample out;
  out.text = text;
  for (size_t i = 0; i < tokens; ++i) out.tokens.push_back(static_cast<TokenId>(i));
  out.verdicts = {{"accuracy", score, 1, score >= 1 ? Reason::kCorrect : Reason::kWrong, "", {}}};
  return out;
}

Group group(const std::string& id, std::vector<Sample> samples) {
  Group out;
  out.problem.task = "sums";
  out.problem.id = id;
  out.problem.prompt = id + " =";
  out.samples = std::move(samples);
  return out;
}

std::vector<std::string> texts(const Rejection& rejection, const char* name) {
  std::vector<std::string> out;
  for (const Json& row : rejection.rows()) out.push_back(row.at(name).get<std::string>());
  return out;
}

}  // namespace

TEST_CASE("rows: right ones, the shortest first, each text once, problems in order") {
  RejectConfig config;
  config.per_problem = 2;
  Rejection rejection(config);
  Sample cut = sample("cut", 1);
  cut.finish = FinishReason::kLength;
  Sample broken = sample("broken", 1);
  broken.verdicts[0].reason = Reason::kCheckerError;
  rejection.add(group("b", {sample("long", 1, 9), sample("wrong", 0), cut, broken}));
  rejection.add(group("a", {sample("no", 0)}));
  rejection.add(group("b", {sample("short", 1, 2), sample("long", 1, 9), sample("middle", 1, 5)}));
  CHECK(texts(rejection, "completion") == std::vector<std::string>{"short", "middle"});
  CHECK(rejection.rows()[0].at("prompt") == "b =");
  const Json summary = rejection.summary();
  CHECK(summary.at("samples") == 8);
  CHECK(summary.at("right") == 4);
  CHECK(summary.at("wrong") == 2);
  CHECK(summary.at("cut_off") == 1);
  CHECK(summary.at("ungraded") == 1);
  CHECK(summary.at("repeated") == 1);
  CHECK(summary.at("problems_without_right") == 1);
  CHECK(summary.at("rows") == 2);
}

TEST_CASE("filters by length, language and repetition") {
  RejectConfig config;
  config.order = "first";
  config.per_problem = 0;
  config.min_length = 3;
  config.max_length = 12;
  config.language_share = 0.6;
  config.max_repetition = 0.5;
  Rejection rejection(config);
  Sample loop = sample("loop", 1, 12);
  std::fill(loop.tokens.begin(), loop.tokens.end(), 7);
  rejection.add(group("a", {sample("tiny", 1, 2), sample("huge", 1, 13), loop,
                            sample("это русский текст", 1, 5), sample("fine words", 1, 5)}));
  CHECK(texts(rejection, "completion") == std::vector<std::string>{"fine words"});
  CHECK(rejection.summary().at("filtered") == 4);
  config.scripts = {"klingon"};
  CHECK_THROWS_WITH_AS(Rejection{config}, doctest::Contains("klingon"), Error);
}

TEST_CASE("pairs: right against wrong, and against longer") {
  RejectConfig config;
  config.pairs = "wrong";
  Rejection wrong(config);
  const Group mixed = group("a", {sample("no", 0), sample("long", 1, 9), sample("short", 1, 4),
                                  sample("never", 0), sample("middle", 1, 5)});
  wrong.add(mixed);
  wrong.add(group("b", {sample("only", 1)}));
  CHECK(texts(wrong, "chosen") == std::vector<std::string>{"short", "middle"});
  CHECK(texts(wrong, "rejected") == std::vector<std::string>{"no", "never"});

  config.pairs = "longer";
  Rejection longer(config);
  longer.add(mixed);
  CHECK(texts(longer, "chosen") == std::vector<std::string>{"short", "short", "short"});
  CHECK(texts(longer, "rejected") == std::vector<std::string>{"no", "never", "long"});
}
