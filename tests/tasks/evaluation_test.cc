#include "tasks/evaluation.h"

#include <doctest/doctest.h>

#include <cmath>

#include "core/rng.h"

using namespace zeroth;

namespace {

Sample sample_of(double score, const std::string& answer, int tokens = 10,
                 FinishReason finish = FinishReason::kStop) {
  Sample s;
  s.tokens.assign(static_cast<size_t>(tokens), 1);
  s.finish = finish;
  Verdict format;
  format.name = "format";
  format.score = 1;
  Verdict accuracy;
  accuracy.name = "accuracy";
  accuracy.score = score;
  accuracy.reason = score == 1 ? Reason::kCorrect : Reason::kWrong;
  accuracy.extracted = answer;
  accuracy.info = {{"steps", 4}, {"steps_right", score == 1 ? 4 : 2}, {"note", "text"}};
  s.verdicts = {format, accuracy};
  return s;
}

}  // namespace

TEST_CASE("pass@k: hand values") {
  CHECK(pass_at_k(4, 0, 2) == 0);
  CHECK(pass_at_k(4, 4, 1) == 1);
  CHECK(pass_at_k(4, 1, 1) == doctest::Approx(0.25).epsilon(1e-12));
  // 1 - C(3,2)/C(4,2) = 1 - 3/6
  CHECK(pass_at_k(4, 1, 2) == doctest::Approx(0.5).epsilon(1e-12));
  // 1 - C(7,3)/C(10,3) = 1 - 35/120
  CHECK(pass_at_k(10, 3, 3) == doctest::Approx(1 - 35.0 / 120).epsilon(1e-12));
  CHECK(pass_at_k(10, 8, 3) == 1);
  CHECK(pass_at_k(10000, 1, 5000) == doctest::Approx(0.5).epsilon(1e-9));
}

TEST_CASE("interval: independent values are Wilson's interval") {
  // 50 of 100, every value its own cluster: variance 0.25/99, so Wilson at n = 99.
  std::vector<double> values;
  std::vector<std::string> clusters;
  for (int i = 0; i < 100; ++i) {
    values.push_back(i % 2);
    clusters.push_back(std::to_string(i));
  }
  const Interval ci = clustered_interval(values, clusters);
  const double z = 1.959963984540054, n = 99;
  const double half = z / (1 + z * z / n) * std::sqrt(0.25 / n + z * z / (4 * n * n));
  CHECK(ci.lo == doctest::Approx(0.5 - half).epsilon(1e-9));
  CHECK(ci.hi == doctest::Approx(0.5 + half).epsilon(1e-9));
}

TEST_CASE("interval: copies within a cluster add nothing") {
  std::vector<double> once, often;
  std::vector<std::string> names, repeated;
  for (int i = 0; i < 40; ++i) {
    once.push_back(i % 4 == 0);
    names.push_back(std::to_string(i));
    for (int k = 0; k < 7; ++k) {
      often.push_back(i % 4 == 0);
      repeated.push_back(std::to_string(i));
    }
  }
  const Interval a = clustered_interval(once, names), b = clustered_interval(often, repeated);
  CHECK(a.lo == doctest::Approx(b.lo).epsilon(1e-9));
  CHECK(a.hi == doctest::Approx(b.hi).epsilon(1e-9));
}

TEST_CASE("interval: the ends and nothing") {
  const std::vector<double> ones(20, 1.0);
  std::vector<std::string> names;
  for (int i = 0; i < 20; ++i) names.push_back(std::to_string(i));
  const Interval ci = clustered_interval(ones, names);
  CHECK(ci.hi == 1);
  // Wilson at 20 of 20: lower end n / (n + z^2).
  CHECK(ci.lo == doctest::Approx(20 / (20 + 3.841458820694124)).epsilon(1e-9));
  CHECK(clustered_interval({}, {}).lo == 0);
  CHECK(clustered_interval({}, {}).hi == 1);
}

TEST_CASE("interval: covers the truth about 95 times in 100 with clustered data") {
  // 60 clusters of 5 problems; each cluster has its own success rate, mean 0.6.
  int covered = 0;
  const int trials = 2000;
  for (int t = 0; t < trials; ++t) {
    Rng rng(7, static_cast<uint32_t>(t));
    std::vector<double> values;
    std::vector<std::string> clusters;
    for (int g = 0; g < 60; ++g) {
      const double p = rng.chance(0.5) ? 0.9 : 0.3;
      for (int i = 0; i < 5; ++i) {
        values.push_back(rng.chance(p));
        clusters.push_back(std::to_string(g));
      }
    }
    const Interval ci = clustered_interval(values, clusters);
    covered += ci.lo <= 0.6 && 0.6 <= ci.hi;
  }
  CHECK(covered > 0.93 * trials);
  CHECK(covered < 0.97 * trials);
}

TEST_CASE("interval of a ratio: independent problems of one sample are the mean's") {
  std::vector<double> totals, counts;
  std::vector<std::string> clusters;
  for (int i = 0; i < 50; ++i) {
    totals.push_back(10 + i % 2 * 4);  // mean 12, every residual 2
    counts.push_back(1);
    clusters.push_back(std::to_string(i));
  }
  const Interval ci = clustered_ratio_interval(totals, counts, clusters);
  const double half = 1.959963984540054 * std::sqrt(50 * 4.0 * 50 / 49) / 50;
  CHECK(ci.lo == doctest::Approx(12 - half).epsilon(1e-9));
  CHECK(ci.hi == doctest::Approx(12 + half).epsilon(1e-9));
  // Problems without a sample that counts are none.
  for (int i = 0; i < 9; ++i) {
    totals.push_back(0);
    counts.push_back(0);
    clusters.push_back("more " + std::to_string(i));
  }
  CHECK(clustered_ratio_interval(totals, counts, clusters).hi == ci.hi);
  // One cluster says nothing about others, and nothing is below 0.
  CHECK(std::isinf(
      clustered_ratio_interval({totals.data(), 1}, {counts.data(), 1}, {clusters.data(), 1}).hi));
  const std::vector<double> uneven = {100, 0, 0}, one = {1, 1, 1};
  CHECK(clustered_ratio_interval(uneven, one, {clusters.data(), 3}).lo == 0);
}

TEST_CASE("interval of a ratio: covers the truth about 95 times in 100 with clustered data") {
  int covered = 0;
  const int trials = 2000;
  for (int t = 0; t < trials; ++t) {
    Rng rng(11, static_cast<uint32_t>(t));
    std::vector<double> totals, counts;
    std::vector<std::string> clusters;
    for (int g = 0; g < 80; ++g) {
      // Hard clusters have fewer right samples and longer ones: 1 of length 30 or 3 of length 10.
      const bool hard = rng.chance(0.5);
      for (int i = 0; i < 4; ++i) {
        const double length = (hard ? 30 : 10) * (rng.chance(0.5) ? 0.5 : 1.5);
        counts.push_back(hard ? 1 : 3);
        totals.push_back(counts.back() * length);
        clusters.push_back(std::to_string(g));
      }
    }
    const Interval ci = clustered_ratio_interval(totals, counts, clusters);
    covered += ci.lo <= 15 && 15 <= ci.hi;  // (1 x 30 + 3 x 10) / 4
  }
  CHECK(covered > 0.93 * trials);
  CHECK(covered < 0.97 * trials);
}

TEST_CASE("majority: ties, silence, partial credit") {
  const auto majority = [](std::vector<std::string> answers, std::vector<double> scores) {
    return majority_score(answers, scores);
  };
  CHECK(majority({"a", "b", "a"}, {1, 0, 1}) == 1);
  CHECK(majority({"a", "b", "b"}, {1, 0, 0}) == 0);
  CHECK(majority({"a", "b"}, {1, 0}) == 0.5);
  CHECK(majority({"", "", "a"}, {0, 0, 1}) == 1);
  CHECK(majority({"", ""}, {0, 0}) == 0);
  CHECK(majority({}, {}) == 0);
}

TEST_CASE("report: counts, curve, facts, errors") {
  Evaluation evaluation("toy");
  Group group;
  group.samples = {sample_of(1, "x", 10), sample_of(0, "y", 20), sample_of(1, "x", 30),
                   sample_of(0, "", 40, FinishReason::kLength)};
  evaluation.add(group, "c1");
  group.samples = {sample_of(0, "p"), sample_of(0, "p"), sample_of(0, "q"), sample_of(0.5, "q")};
  group.samples[3].verdicts[1].reason = Reason::kCheckerError;
  evaluation.add(group, "c2");
  const EvalReport r = evaluation.report();
  CHECK(r.n == 2);
  CHECK(r.samples == 4);
  CHECK(r.pass_at_1 == doctest::Approx(0.25));
  CHECK(r.pass_at_K == doctest::Approx(0.5));
  CHECK(r.cons_at_K == doctest::Approx(0.5));
  CHECK(r.errors == doctest::Approx(1.0 / 8));
  CHECK(r.truncated == doctest::Approx(1.0 / 7));
  CHECK(r.mean_length == doctest::Approx(130.0 / 7));
  // 1 - C(2,2)/C(4,2) = 5/6 on the first problem.
  CHECK(r.pass_curve["pass@2"].get<double>() == doctest::Approx(5.0 / 12));
  CHECK(r.facts["format"] == 1);
  CHECK(r.facts["steps"] == 4);
  CHECK(r.facts["steps_accuracy"].get<double>() == doctest::Approx(18.0 / 28));
  CHECK(!r.facts.contains("note"));
  const Json json = r.to_json();
  for (const char* key : {"task", "n", "samples", "pass@1", "pass@K", "avg@K", "cons@K", "ci95",
                          "mean_length", "truncated", "pass@4", "cons@4"}) {
    CHECK(json.contains(key));
  }
  CHECK(json["ci95"].size() == 2);
}

TEST_CASE("report: what stages are compared by") {
  Evaluation evaluation("toy", {"problem"});
  Group group;
  group.problem.prompt = "сложи 2 и 2";
  group.samples = {sample_of(1, "x", 10), sample_of(0, "y", 20), sample_of(1, "x", 40)};
  group.samples[0].text = "<think>два и два это four</think>";
  group.samples[1].text = "<think>да</think> yes";  // the thought alone counts
  group.samples[1].verdicts[0].score = 0;
  group.samples[2].verdicts[0].reason = Reason::kNotApplicable;
  evaluation.add(group, "c1");
  CHECK(evaluation.report().to_text().find("right_length             25.0") != std::string::npos);
  group.problem.prompt = "2+2";
  group.samples = {sample_of(0, "y", 30), sample_of(0, "y", 50)};
  group.samples[0].text = "что?";  // a prompt without words asks for no script
  evaluation.add(group, "c2");
  const EvalReport r = evaluation.report();
  const auto of = [&](const char* name) {
    REQUIRE(r.measure(name) != nullptr);
    return *r.measure(name);
  };
  CHECK(of("accuracy").mean == r.pass_at_1);
  CHECK(of("accuracy").ci95.lo == r.ci95.lo);
  CHECK(of("format").mean == doctest::Approx((0.5 + 1) / 2));
  CHECK(of("language").mean == doctest::Approx(((0.8 + 1 + 1) / 3 + 1) / 2));
  CHECK(of("length").mean == r.mean_length);
  CHECK(of("right_length").mean == 25);
  CHECK(std::isinf(of("right_length").ci95.hi));  // one cluster has right samples
  CHECK(of("length").ci95.lo < of("length").mean);
  const Json json = Json::parse(r.to_json().dump());
  CHECK(json["measures"]["right_length"]["ci95"][1].is_null());
  CHECK(json["measures"]["length"]["ci95"][0] == of("length").ci95.lo);

  Evaluation none("toy");
  group.samples = {sample_of(0, "y", 30)};
  group.samples[0].verdicts.erase(group.samples[0].verdicts.begin());
  none.add(group, "c1");
  CHECK(none.report().measure("right_length") == nullptr);
  CHECK(none.report().measure("format") == nullptr);
  CHECK(none.report().measure("language")->mean == 1);
}
