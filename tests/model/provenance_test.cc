#include "model/formats/provenance.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "core/temporary_folder.h"

using namespace zeroth;

TEST_CASE("stages of a checkpoint are those of its base and its own") {
  const TemporaryFolder base, tuned;
  CHECK(stages_of("") == Json::array());
  CHECK(stages_of(base.path())[0]["made_by"] == "unknown");
  const auto write = [](const TemporaryFolder& folder, const std::string& text) {
    std::ofstream(folder.path() / kProvenanceFile) << text;
  };
  const Json config = {
      {"model", "m"}, {"steps", 5}, {"trainer", {{"reuse_mb", 1}, {"branches", 2}}}};
  write(base, provenance_text(stages_of(""), new_stage("pretrain", 40, config, {"steps"})));
  Json sft = new_stage("sft", 3, {{"model", "m"}, {"data", {{"path", "rows.jsonl"}}}}, {});
  write(tuned, provenance_text(stages_of(base.path()), sft));
  const Json stages = stages_of(tuned.path());
  REQUIRE(stages.size() == 2);
  CHECK(stages[0]["config"] ==
        Json{{"model", "m"}, {"trainer", {{"reuse_mb", 1}, {"branches", 2}}}});
  CHECK(stages_before(tuned.path()) == stages_of(base.path()));
  CHECK(stages_before(base.path()).empty());
  CHECK(supervised_stages(stages_of(base.path())).empty());
  CHECK(supervised_stages(stages) == std::vector<std::string>{"sft on rows.jsonl"});
  CHECK(describe_stages(stages) ==
        std::vector<std::string>{"pretrain of m, 40 steps", "sft of m on rows.jsonl, 3 steps"});
  const Json over = new_stage("train", 2, {{"model", "m"}, {"lora", {{"base", "q8_0"}}}}, {});
  CHECK(describe_stages(Json::array({over})) ==
        std::vector<std::string>{"train of m, an adapter over the base in q8_0, 2 steps"});
  Json merge = new_stage("merge");
  merge["lines"] = Json::array({stages_of(base.path()), stages});
  CHECK(supervised_stages(Json::array({merge})).size() == 1);
  CHECK(describe_stages(Json::array({merge})).size() == 4);
  write(tuned, "{\"stages\": 3}");
  CHECK_THROWS_WITH_AS(stages_of(tuned.path()), doctest::Contains("provenance.json"), Error);
}

TEST_CASE("fields that a resumed run may change are no part of a stage") {
  const Json config = {{"model", "m"},
                       {"fleet", {{"listen", "x"}}},
                       {"trainer", {{"reuse_mb", 1}, {"branches", 2}}}};
  const Json stage =
      new_stage("train", 1, config, {"model", "fleet", "trainer.reuse_mb", "none.x"});
  CHECK(stage["config"] == Json{{"model", "m"}, {"trainer", {{"branches", 2}}}});
}
