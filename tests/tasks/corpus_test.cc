// What the pretraining text teaches has to be what it claims to teach: shares, error rates, and
// nothing held out.
#include "tasks/corpora/corpus.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>
#include <set>

#include "rewards/expression.h"
#include "rewards/format.h"
#include "rewards/process.h"
#include "tasks/builtin/arithmetic.h"
#include "tasks/builtin/countdown.h"
#include "tasks/builtin/countdown_trace.h"
#include "tasks/task.h"

using namespace zeroth;

namespace {

// Sums of the facts of many documents.
struct Stats {
  double documents = 0, correct = 0, format = 0, direct = 0, one = 0;
  std::map<std::string, double> facts;
  double hits = 0, misses = 0, false_ok = 0, false_no = 0;
  std::set<std::string> multisets;
  double rate(const char* a, const char* b) { return facts[a] / facts[b]; }
};

Stats collect(const Json& options, int n, uint64_t seed = 1) {
  const auto corpus = make_corpus("countdown", options);
  Json task_options = options;
  for (auto it = task_options.begin(); it != task_options.end();) {
    const bool of_corpus =
        it.key() == "preset" || it.key().starts_with("share_") || it.key() == "slip";
    it = of_corpus ? task_options.erase(it) : std::next(it);
  }
  const auto task = make_task("countdown", task_options);
  // Prompt -> problem: documents only hold text.
  std::map<std::string, Problem> problems;
  for (int64_t i = 0; i < task->size(Split::kTrain); ++i) {
    Problem p = task->problem(Split::kTrain, i);
    problems.emplace(p.prompt, p);
  }
  Stats stats;
  for (int i = 0; i < n; ++i) {
    const Document doc = corpus->document(seed, i);
    const auto it = problems.find(doc.prompt);
    REQUIRE(it != problems.end());  // only training problems occur
    stats.multisets.insert(task->cluster(it->second));
    const auto verdicts = task->grade(it->second, doc.response, FinishReason::kStop);
    ++stats.documents;
    stats.correct += verdicts[0].score;
    stats.format += verdicts[1].score;
    for (const auto& [key, value] : verdicts[0].info.items()) {
      if (value.is_number()) stats.facts[key] += value.get<double>();
    }
    const auto target = it->second.meta["target"].get<int64_t>();
    const auto numbers = it->second.meta["nums"].get<std::vector<int64_t>>();
    const ResponseParts parts = split_response(doc.response, {});
    const CountdownTrace trace = parse_countdown_trace(parts.think, numbers);
    stats.direct += trace.tries.empty();
    stats.one += trace.tries.size() == 1;
    for (const TraceTry& t : trace.tries) {
      (t.claims(target) ? stats.hits : stats.misses) += 1;
      if (t.claims(target) && t.verdict == TryVerdict::kNo) ++stats.false_no;
      if (!t.claims(target) && t.verdict == TryVerdict::kOk) ++stats.false_ok;
      CHECK(t.verdict != TryVerdict::kMissing);
    }
    if (!trace.tries.empty() && trace.tries.back().steps == trace.tries.back().steps_right) {
      // The last try is the answer. Equal numbers may change places.
      CHECK_MESSAGE(trace.tries.back().value == evaluate_expression(parts.answer).value,
                    doc.response);
    }
  }
  return stats;
}

// |observed - expected| within 4 standard errors of a share over n draws.
void check_share(double observed, double expected, double n) {
  CAPTURE(observed);
  CAPTURE(expected);
  CHECK(std::abs(observed - expected) <
        4 * std::sqrt(std::max(expected * (1 - expected), 1e-4) / n));
}

}  // namespace

TEST_CASE("countdown corpus: the mixture and the error rates are those of its options") {
  Stats s = collect(Json::object(), 20000);
  CHECK(s.format == s.documents);
  check_share(s.direct / s.documents, 0.08, s.documents);
  CHECK(s.facts["illegal_tries"] == 0);
  check_share(s.rate("steps_right", "steps"), 0.99, s.facts["steps"]);
  check_share(s.false_ok / s.misses, 0.02, s.misses);
  check_share(s.false_no / s.hits, 0.01, s.hits);
  // Right tries are common, so that "ok" and "no" balance.
  CHECK(s.hits / s.facts["tries"] > 0.3);
  CHECK(s.multisets.size() > 500);
}

TEST_CASE("countdown corpus: the plain preset mixes in no right tries") {
  Stats s = collect({{"preset", "plain"}}, 8000);
  check_share(s.direct / s.documents, 0.10, s.documents);
  check_share(s.false_ok / s.misses, 0.03, s.misses);
  check_share(s.false_no / s.hits, 0.02, s.hits);
  CHECK(s.hits / s.facts["tries"] < 0.2);
  const auto corpus = make_corpus("countdown", {{"preset", "plain"}});
  for (int i = 0; i < 100; ++i)
    CHECK(corpus->document(1, i).response.find("->") == std::string::npos);
}

TEST_CASE("countdown corpus: options win over the preset") {
  Stats s = collect({{"preset", "plain"}, {"share_direct", 0.55}, {"share_one", 0}}, 4000);
  check_share(s.direct / s.documents, 0.55, s.documents);
}

TEST_CASE("countdown corpus: long documents never repeat a formula and always wait") {
  const Json options = {
      {"share_direct", 0}, {"share_one", 0}, {"share_short", 0}, {"share_long", 1}};
  const auto corpus = make_corpus("countdown", options);
  int many = 0;
  for (int i = 0; i < 2000; ++i) {
    const std::string response = corpus->document(3, i).response;
    CHECK(response.find('\n') == std::string::npos);
    many += response.find(" wait ") != std::string::npos;
  }
  CHECK(many > 500);
}

TEST_CASE("countdown corpus: slips keep every later operation consistent") {
  for (const int count : {3, 4}) {
    const Json options = {{"slip", 0.5}, {"count", count}, {"max_number", 10}};
    Stats s = collect(options, 3000);
    CHECK(s.facts["illegal_tries"] == 0);
    CHECK(s.rate("steps_right", "steps") < 0.9);
  }
}

TEST_CASE("documents are a pure function of seed and index") {
  for (const char* name : {"countdown", "parity", "arithmetic"}) {
    const auto a = make_corpus(name, Json::object()), b = make_corpus(name, Json::object());
    std::set<std::string> seen;
    for (const int64_t i : {5, 3, 0, 4, 2, 1}) {
      const Document x = a->document(7, i), y = b->document(7, i);
      CHECK(x.prompt == y.prompt);
      CHECK(x.response == y.response);
      CHECK(x.prompt + x.response != a->document(8, i).prompt + a->document(8, i).response);
      seen.insert(x.prompt + x.response);
    }
    CHECK(seen.size() == 6);
  }
}

TEST_CASE("parity corpus: share, chain and answer") {
  const Json bits = {{"bits", 12}};
  const auto corpus = make_corpus("parity", {{"bits", 12}, {"share_long", 0.25}});
  const auto task = make_task("parity", bits);
  double thinking = 0;
  const int n = 8000;
  for (int i = 0; i < n; ++i) {
    const Document doc = corpus->document(1, i);
    Problem p;
    const std::string text = doc.prompt.substr(0, 12);
    int parity = 0;
    for (const char c : text) parity ^= c == '1';
    p.answer = std::to_string(parity);
    p.meta = {{"bits", text}};
    const auto verdicts = task->grade(p, doc.response, FinishReason::kStop);
    CHECK(verdicts[0].score == 1);
    CHECK(verdicts[1].score == 1);
    if (verdicts[0].info["thinks"] == 1) {
      ++thinking;
      CHECK(verdicts[0].info["chain_right"] == 12);
    }
  }
  check_share(thinking / n, 0.25, n);
}

TEST_CASE("arithmetic corpus: working is right line by line") {
  const Json options = {{"digits", 4}, {"ops", "+-*"}};
  const auto corpus =
      make_corpus("arithmetic", {{"digits", 4}, {"ops", "+-*"}, {"share_long", 1}, {"slip", 0}});
  const auto task = make_task("arithmetic", options);
  for (int i = 0; i < 3000; ++i) {
    const Document doc = corpus->document(1, i);
    // "a?b=\n"
    const size_t op = doc.prompt.find_first_of("+-*");
    const int64_t a = std::stoll(doc.prompt), b = std::stoll(doc.prompt.substr(op + 1));
    const char sign = doc.prompt[op];
    Problem p;
    p.answer = std::to_string(sign == '+' ? a + b : sign == '-' ? a - b : a * b);
    p.meta = {{"a", a}, {"op", std::string(1, sign)}, {"b", b}};
    const auto verdicts = task->grade(p, doc.response, FinishReason::kStop);
    REQUIRE_MESSAGE(verdicts[0].score == 1, doc.prompt << doc.response);
    CHECK(verdicts[1].score == 1);
    REQUIRE_MESSAGE(verdicts[2].score == 1, doc.prompt << doc.response);
  }
}

TEST_CASE("arithmetic corpus: lines slip as often as asked, and the rest follows from them") {
  const auto corpus = make_corpus(
      "arithmetic",
      {{"digits", 4}, {"ops", "+-*"}, {"share_long", 1}, {"slip", 0}, {"step_slip", 0.1}});
  double lines = 0, wrong = 0;
  for (int i = 0; i < 3000; ++i) {
    const Document doc = corpus->document(1, i);
    const std::vector<Equation> equations = find_equations(doc.response);
    bool slipped = false;
    for (const Equation& equation : equations) slipped |= !equation.right;
    for (const Equation& equation : equations) wrong += !equation.right;
    lines += static_cast<double>(equations.size());
    const size_t op = doc.prompt.find_first_of("+-*");
    const int64_t a = std::stoll(doc.prompt), b = std::stoll(doc.prompt.substr(op + 1));
    const char sign = doc.prompt[op];
    const int64_t right = sign == '+' ? a + b : sign == '-' ? a - b : a * b;
    const int64_t answer = std::stoll(doc.response.substr(doc.response.find("<answer>") + 8));
    // Two slips of a product may make up for each other.
    const bool wrong_answer = answer != right;
    REQUIRE_MESSAGE((sign == '*' ? slipped || !wrong_answer : slipped == wrong_answer),
                    doc.prompt << doc.response);
  }
  check_share(wrong / lines, 0.1, static_cast<int>(lines));
  CHECK(lines > 9000);
}

TEST_CASE("what follows a slip, by hand") {
  int line = 0;
  const auto second_off = [&](int64_t right) { return right + (++line == 2); };
  const Working sum = work_out(58, '+', 67, second_off);
  CHECK(sum.lines == "8+7=15\n5+6+1=13");
  CHECK(sum.result == 135);
  line = 0;
  const Working difference = work_out(13, '-', 58, second_off);
  CHECK(difference.lines == "8-3=5\n5-1=5");
  CHECK(difference.result == -55);
  line = 0;
  const Working product = work_out(12, '*', 34, second_off);
  CHECK(product.lines == "12*4=48\n12*30=361\n48+361=409");
  CHECK(product.result == 409);
}

TEST_CASE("steps of arithmetic: the line that belongs there, not one that happens to hold") {
  Problem problem;
  problem.answer = "125";
  problem.meta = {{"a", 58}, {"op", "+"}, {"b", 67}};
  const auto task = make_task("arithmetic", {{"check_steps", true}});
  const auto steps = [&](const std::string& text) {
    return task->grade(problem, text, FinishReason::kStop)[0].info.at("step_rewards").dump();
  };
  CHECK(steps("<think>8+7=15\n5+6+1=12</think><answer>125</answer>") == "[[13,1],[22,1]]");
  CHECK(steps("<think>8+7=15\n5+6=11</think><answer>115</answer>") == "[[13,1],[20,0]]");
  CHECK(steps("<think>8+7=15\n5+6+1=12\n1+1=2") == "[[13,1],[22,1],[28,0]]");
  CHECK(steps("<think>8+7=15</think><answer>125</answer>") == "[[13,1],[13,0]]");
  CHECK(steps("<think></think><answer>125</answer>") == "[]");
  CHECK(!make_task("arithmetic", Json::object())
             ->grade(problem, "125", FinishReason::kStop)[0]
             .info.contains("step_rewards"));
}

TEST_CASE("mixture corpus: weights") {
  const Json options = Json::parse(
      R"({"parts": [{"corpus": "parity", "weight": 3}, {"corpus": "countdown", "weight": 1, "options": {"count": 3}}]})");
  const auto corpus = make_corpus("mixture", options);
  double parity = 0;
  for (int i = 0; i < 8000; ++i)
    parity += corpus->document(1, i).prompt.find("Numbers") == std::string::npos;
  check_share(parity / 8000, 0.75, 8000);
}

TEST_CASE("corpora refuse what they cannot do") {
  CHECK_THROWS_WITH_AS(make_corpus("countdwn", {}), doctest::Contains("did you mean \"countdown\""),
                       Error);
  CHECK_THROWS_WITH_AS(make_corpus("countdown", {{"share_long", 0.5}}),
                       doctest::Contains("shares sum"), Error);
  CHECK_THROWS_AS(make_corpus("countdown", {{"count", 5}}), Error);
  CHECK_THROWS_AS(make_corpus("countdown", {{"presett", "plain"}}), Error);
  CHECK_THROWS_AS(make_corpus("mixture", Json::object()), Error);
  CHECK_THROWS_AS(make_corpus("mixture", Json::parse(R"({"parts": [{"corpus": "mixture"}]})")),
                  Error);
}
