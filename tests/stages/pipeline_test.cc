#include "stages/pipeline.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "core/temporary_folder.h"
#include "stages/pipeline_summary.h"

using namespace zeroth;

namespace {

namespace fs = std::filesystem;

Pipeline read(const std::string& text, const std::vector<std::string>& values = {}) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file.json";
  std::ofstream(file) << text;
  return read_pipeline(file, values, "out");
}

void refused(const std::string& text, const char* word) {
  CHECK_THROWS_WITH_AS(read(text), doctest::Contains(word), Error);
}

using Words = std::vector<std::string>;

}  // namespace

TEST_CASE("stages become command lines that write into the folder") {
  const Pipeline pipeline = read(R"({
    "values": {"base": "models/base", "seed": 3},
    "measure": {"task": "sums", "n": 8},
    "stages": [
      {"name": "cold", "run": "sft", "config": {"model": "${base}", "seed": "${seed}"}},
      {"name": "rl", "run": "train", "config": "rl.json", "set": {"model": "${cold}", "zero": true}},
      {"name": "rows", "run": "reject", "arguments": ["${rl.run}"], "flags": {"per_problem": 1}},
      {"name": "mean", "run": "merge", "arguments": ["${base}", "${rl}"]}]})",
                                 {"seed=7"});
  REQUIRE(pipeline.stages.size() == 7);
  const PipelineStage& cold = pipeline.stages[0];
  CHECK(cold.begin() == Words{"sft", "out/cold.json", "--out", "out/cold"});
  CHECK(cold.go_on() == Words{"sft", "--resume", "out/cold"});
  CHECK(cold.config == Json{{"model", "models/base"}, {"seed", 7}});
  CHECK(pipeline.stages[1].begin() == Words{"eval", "--task=sums", "--n=8",
                                            "--model=out/cold/checkpoints/latest", "--save",
                                            "out/cold_eval/samples.jsonl", "--json"});
  CHECK(pipeline.stages[2].begin() == Words{"train", "rl.json", "--set",
                                            "model=out/cold/checkpoints/latest", "--set",
                                            "zero=true", "--out", "out/rl"});
  CHECK(pipeline.stages[4].begin() ==
        Words{"reject", "out/rl", "--per_problem=1", "--out", "out/rows/rows.jsonl"});
  CHECK(pipeline.stages[5].begin() ==
        Words{"merge", "models/base", "out/rl/checkpoints/latest", "--out", "out/mean/model"});
  CHECK(pipeline.file["values"]["seed"] == 7);
  CHECK(pipeline.stages[2].measured.empty());
  CHECK(pipeline.stages[6].measured == "mean");
}

TEST_CASE("a stage that evaluates has the flags of measure but for its own") {
  const Pipeline pipeline = read(R"({
    "values": {"base": "models/base"},
    "measure": {"task": "sums", "n": 8},
    "stages": [{"name": "base_as_given", "run": "eval", "flags": {"model": "${base}", "n": 2}}]})");
  REQUIRE(pipeline.stages.size() == 1);
  CHECK(pipeline.stages[0].measured == "base_as_given");
  CHECK(pipeline.stages[0].begin() == Words{"eval", "--task=sums", "--n=2", "--model=models/base",
                                            "--save", "out/base_as_given/samples.jsonl", "--json"});
}

TEST_CASE("the table of results") {
  const auto measure = [](double mean, const Json& ends) {
    return Json{{"mean", mean}, {"ci95", ends}};
  };
  const std::vector<StageResult> results = {{"cold",
                                             {{"truncated", 0.0625},
                                              {"tokens_per_correct", 123.456},
                                              {"measures",
                                               {{"accuracy", measure(0.5, {0.4, 0.61})},
                                                {"language", measure(1, {0.98, 1})},
                                                {"length", measure(30.25, {29, 31.5})},
                                                {"right_length", measure(20, {0, nullptr})}}}}},
                                            {"of another program", {{"pass@1", 1}}}};
  CHECK(
      summary_table(results) ==
      "| after              | accuracy             | format | language               | tokens     "
      "         | tokens of right answers | cut off | tokens a right answer |\n"
      "|--------------------|----------------------|--------|------------------------|------------"
      "---------|-------------------------|---------|-----------------------|\n"
      "| cold               | 50.0% (40.0 to 61.0) | -      | 100.0% (98.0 to 100.0) | 30.2 (29.0 "
      "to 31.5) | 20.0 (0.0 to ?)         | 6.2%    | 123.5                 |\n"
      "| of another program | -                    | -      | -                      | -          "
      "         | -                       | -       | -                     |\n");
}

TEST_CASE("a pipeline that says nothing clear is refused by stage and field") {
  const auto stage = [](const std::string& fields) {
    return R"({"stages": [{"name": "a", )" + fields + "}]}";
  };
  refused("{}", "stages");
  refused(R"({"stages": []})", "stages");
  refused(R"({"stage": []})", "did you mean \"stages\"");
  refused(stage(R"("run": "fly")"), "\"fly\" is no command");
  refused(stage(R"("run": "train")"), "stage a lacks its config");
  refused(stage(R"("run": "sft", "config": {}, "sett": {})"), "did you mean \"set\"");
  refused(stage(R"("run": "sft", "config": {"model": "${b}"})"), "${b} is neither");
  refused(stage(R"("run": "sft", "config": {"model": "${a}"})"), "${a} is neither");
  refused(stage(R"("run": "sft", "config": {"model": "${a"})"), "lacks a }");
  refused(stage(R"("run": "merge", "flags": {"out": "x"})"), "the flag out");
  refused(stage(R"("run": "merge", "config": {})"), "merge has flags");
  refused(stage(R"("run": "merge", "flags": [1])"), "flags is no object");
  refused(R"({"measure": [], "stages": [{"name": "a", "run": "merge"}]})", "measure is no object");
  refused(R"({"values": {"a": 1}, "stages": [{"name": "a", "run": "merge"}]})", "given twice");
  refused(R"({"stages": [{"name": "../a", "run": "merge"}]})", "no name");
  CHECK_THROWS_WITH_AS(
      read(R"({"values": {"seed": 1}, "stages": [{"name": "a", "run": "merge"}]})", {"sed=2"}),
      doctest::Contains("did you mean seed"), Error);
}
