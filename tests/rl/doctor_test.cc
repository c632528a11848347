#include "rl/doctor.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

bool warns(const Diagnosis& diagnosis, const std::string& text) {
  for (const std::string& warning : diagnosis.warnings) {
    if (warning.find(text) != std::string::npos) return true;
  }
  return false;
}

}  // namespace

TEST_CASE("the doctor says what a run would do and leaves nothing behind") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  const auto before = files_below(folder.path());
  const Diagnosis diagnosis = diagnose(config, 2, 0);
  CHECK(files_below(folder.path()) == before);
  CHECK(diagnosis.groups == 2);
  CHECK(diagnosis.samples == 8);
  CHECK(!diagnosis.whole_step);
  CHECK(diagnosis.solve_rate >= 0);
  CHECK(diagnosis.prompt_ids.size() == diagnosis.prompt.size());  // bytes are tokens
  CHECK(diagnosis.seconds_per_step > 0);
  CHECK(diagnosis.memory_mb > 0);
  const Json json = diagnosis.to_json();
  for (const char* name : {"solve_rate", "zero_variance", "truncated", "prompt", "prompt_ids",
                           "memory_mb", "seconds_per_step", "warnings"}) {
    CHECK(json.contains(name));
  }
  CHECK(diagnose(config, 2, 1000).whole_step);
  CHECK(diagnose(config, 2, 1000).groups == 3);
}

TEST_CASE("the doctor warns of runs that would learn nothing") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.overlong.buffer = 0;
  CHECK(warns(diagnose(config, 3, 0), "no group has two different rewards"));
  config.overlong.mask = true;
  config.sampling.stop.clear();
  config.sampling.max_tokens = 4;
  const Diagnosis cut = diagnose(config, 3, 0);
  CHECK(cut.truncated > 0.9);
  CHECK(warns(cut, "cut off at 4 tokens"));
  if (cut.truncated == 1) CHECK(warns(cut, "every sample is masked"));

  std::ofstream rows(folder.path() / "rows.jsonl");
  for (int i = 0; i < 30; ++i)
    rows << Json{{"prompt", i == 3 ? "" : "q" + std::to_string(i)}, {"answer", "1"}} << "\n";
  rows.close();
  config.task.name = "jsonl";
  config.task.options = {{"path", (folder.path() / "rows.jsonl").string()}, {"template", "bare"}};
  CHECK(warns(diagnose(config, 3, 0), "rows.jsonl:4: the prompt is empty"));
}

TEST_CASE("settings under which the samples of a group are equal are refused at the start") {
  TemporaryFolder folder;
  const RunConfig good = tiny_run(make_tiny_base(folder.path() / "base"));
  CHECK_NOTHROW(check_run_config(good));
  const auto refused = [&](const char* field, const auto& spoil) {
    RunConfig config = good;
    spoil(config);
    CHECK_THROWS_WITH_AS(check_run_config(config), doctest::Contains(field), Error);
  };
  refused("samples_per_prompt = 1", [](RunConfig& c) { c.samples_per_prompt = 1; });
  refused("sampling.top_k = 1", [](RunConfig& c) { c.sampling.top_k = 1; });
  refused("sampling.min_p", [](RunConfig& c) { c.sampling.min_p = 1; });
  refused("sampling.top_p", [](RunConfig& c) { c.sampling.top_p = 1e-6; });
  refused("sampling.temperature", [](RunConfig& c) { c.sampling.temperature = 1e-5; });
  refused("sampling.temperature", [](RunConfig& c) { c.sampling.temperature = 0; });
}
