#include "stages/pipeline.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "core/temporary_folder.h"

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
  refused(R"({"values": {"a": 1}, "stages": [{"name": "a", "run": "merge"}]})", "given twice");
  refused(R"({"stages": [{"name": "../a", "run": "merge"}]})", "no name");
  CHECK_THROWS_WITH_AS(
      read(R"({"values": {"seed": 1}, "stages": [{"name": "a", "run": "merge"}]})", {"sed=2"}),
      doctest::Contains("did you mean seed"), Error);
}
