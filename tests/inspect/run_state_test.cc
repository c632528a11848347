// What the inspector says has become of a run.
#include "inspect/run_state.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/files.h"
#include "tests/record/samples.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

const Json kConfig = {{"steps", 10}, {"alarms", {{"stop_on", {"gradient_nan"}}}}};

// A run folder of three rows.
class Run {
 public:
  explicit Run(int64_t checkpoint, const std::string& last_row = R"({"step":2})") {
    write("metrics.jsonl", "{\"step\":0}\n{\"step\":1}\n" + last_row + "\n");
    if (checkpoint >= 0)
      fs::create_directories(folder() / "checkpoints" / ("step-" + std::to_string(checkpoint)));
  }
  fs::path folder() const { return temp_.path(); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder() / name) << text;
  }
  Json state() const {
    MetricsFile metrics(folder() / "metrics.jsonl");
    metrics.refresh();
    return run_state(folder(), kConfig, metrics);
  }

 private:
  TemporaryFolder temp_;
};

TEST_CASE("the end of a run is told from its checkpoints and what its trainer wrote last") {
  Run run(3);
  CHECK(run.state()["state"] == "interrupted");
  CHECK(run.state()["why"] == "saved at step 3");
  run.write("state.json", R"({"state":"stopped","by":"SIGINT","step":3})");
  CHECK(run.state()["state"] == "interrupted");
  CHECK(run.state()["why"] == "by SIGINT, saved at step 3");
  run.write("state.json", R"({"state":"failed","by":"no space left on the disk","step":3})");
  CHECK(run.state()["state"] == "failed");
  CHECK(run.state()["why"] == "no space left on the disk");
}

TEST_CASE("a state that is stale, a stranger's or broken tells nothing") {
  Run run(1);
  const Json killed = run.state();
  CHECK(killed["state"] == "killed");
  CHECK(killed["why"] == "2 steps after its last checkpoint, 1");
  for (const char* text :
       {R"({"state":"failed","by":"x","step":2})", R"({"state":"running","step":3})",
        R"({"state":["failed"],"by":{},"step":3})", "[[[[", "", "null",
        R"({"state":"stopped","by":"SIGINT","step":3})"}) {
    CAPTURE(text);
    run.write("state.json", text);
    CHECK(run.state() == killed);
  }
  fs::remove(run.folder() / "state.json");
  fs::create_symlink("/dev/zero", run.folder() / "state.json");
  CHECK(run.state() == killed);
}

TEST_CASE("alarms have the messages of their rows") {
  Run run(3, R"({"step":2,"alarms":["gradient_nan","x",7],)"
             R"("alarm_messages":{"gradient_nan":"the norm is nan","x":{}}})");
  MetricsFile metrics(run.folder() / "metrics.jsonl");
  metrics.refresh();
  const Json alarms = alarm_list(metrics);
  REQUIRE(alarms.size() == 2);
  CHECK(alarms[0] == Json{{"name", "gradient_nan"},
                          {"times", 1},
                          {"first", 2},
                          {"last", 2},
                          {"message", "the norm is nan"}});
  CHECK(alarms[1]["message"] == "");
  CHECK(run.state()["state"] == "stopped");
  CHECK(run.state()["why"] == "alarm gradient_nan");
}

}  // namespace
}  // namespace zeroth
