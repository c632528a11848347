#include "rl/trace_facts.h"

#include <doctest/doctest.h>

#include "record/run_recorder.h"
#include "rl/trainer.h"
#include "support.h"

using namespace zeroth;

namespace {

Group group_of(std::vector<std::vector<float>> logprobs) {
  Group group;
  group.problem.task = "countdown";
  for (const auto& row : logprobs) {
    Sample sample;
    sample.tokens.assign(row.size(), 1);
    sample.logprobs = row;
    group.samples.push_back(sample);
  }
  return group;
}

// The annotations of every group after one recorded step.
std::vector<Annotations> recorded(const std::vector<Group>& groups, const StepReport& report) {
  const TemporaryFolder folder;
  RecorderOptions options;
  options.record.progress = options.record.scan = false;
  options.vocabulary = {"a", "b"};
  {
    RunRecorder recorder(folder.path(), options);
    recorder.record(3, Json::object(), groups);
    record_training(recorder, 3, groups, report);
  }
  TraceReader reader(folder.path() / "traces");
  std::vector<Annotations> out;
  for (const TraceEntry& entry : reader.groups()) out.push_back(reader.annotations(entry));
  return out;
}

}  // namespace

TEST_CASE("what training saw is appended to the traces where it says something") {
  const std::vector<Group> groups = {group_of({{-1, -2}, {-3}, {-4}}), group_of({{-1}})};
  StepReport report;
  report.trained = {{{{-1.0f, -1.5f}, {}, 0.25}, {{-3.001f}, {}, -0.5}, {}},
                    {{{-1.0f}, {}, 0.125}}};
  const auto notes = recorded(groups, report);
  REQUIRE(notes.size() == 2);
  REQUIRE(notes[0].size() == 2);
  const auto& ratios = notes[0].at("log_ratios");
  CHECK(ratios[0] == std::vector<float>{0, 0.5f});
  REQUIRE(ratios[1].size() == 1);
  CHECK(ratios[1][0] == doctest::Approx(-0.001).epsilon(1 / 256.0));
  CHECK(ratios[2].empty());  // it was not trained on
  CHECK(notes[0].at("loss") == std::vector<std::vector<float>>{{0.25f}, {-0.5f}, {}});
  CHECK(notes[1].empty());  // on-policy: the ratios are 1, so nothing is stored
}

TEST_CASE("with a reference policy its ratios are stored even on-policy") {
  const std::vector<Group> groups = {group_of({{-1, -2}})};
  StepReport report;
  report.trained = {{{{-1, -2}, {-1.5f, -1}, 0.25}}};
  const auto notes = recorded(groups, report);
  CHECK(notes[0].at("log_ratios")[0] == std::vector<float>{0, 0});
  CHECK(notes[0].at("reference_log_ratios")[0] == std::vector<float>{0.5f, -1});
  CHECK(notes[0].at("loss")[0] == std::vector<float>{0.25f});
}
