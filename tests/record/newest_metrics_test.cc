// The newest row of metrics, as Prometheus reads it while the run writes.
#include "record/newest_metrics.h"

#include <doctest/doctest.h>

#include <unistd.h>

#include <fstream>

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

struct Run {
  fs::path path =
      fs::temp_directory_path() / ("zeroth_newest_metrics_" + std::to_string(::getpid()));
  Run() { fs::create_directories(path); }
  ~Run() { fs::remove_all(path); }
  Json newest(const std::string& text) const {
    std::ofstream(path / "metrics.jsonl", std::ios::binary) << text;
    return newest_metrics(path);
  }
};

}  // namespace

TEST_CASE("the last whole row counts, torn and damaged lines do not") {
  const Run run;
  CHECK(newest_metrics(run.path).is_null());
  CHECK(run.newest("").is_null());
  CHECK(run.newest("{\"step\": 1").is_null());
  CHECK(run.newest("{\"step\": 1}\n")["step"] == 1);
  CHECK(run.newest("{\"step\": 1}\n{\"step\": 2}\n{\"st")["step"] == 2);
  CHECK(run.newest("{\"step\": 1}\n[2]\n{\"step\n\n")["step"] == 1);
  const std::string load(100'000, '1');  // longer than what is read at first
  CHECK(run.newest("{\"step\": 1}\n{\"step\": 2, \"x\": \"" + load + "\"}\n")["step"] == 2);
  CHECK(run.newest("{\"step\": 3}\n" + load + "\n")["step"] == 3);
  CHECK(run.newest(load + "\n").is_null());
}

TEST_CASE("numbers become gauges") {
  const Json row = {{"step", 7},      {"reward", 0.25},        {"a/b-c", 1},
                    {"text", "x"},    {"nothing", nullptr},    {"a.b.c", 2},
                    {"list", {1, 2}}, {"timing", {{"s", 1.5}}}};
  CHECK(prometheus_text(row) ==
        "# TYPE zeroth_step gauge\nzeroth_step 7\n# TYPE zeroth_reward gauge\nzeroth_reward 0.25\n"
        "# TYPE zeroth_a_b_c gauge\nzeroth_a_b_c 1\n"
        "# TYPE zeroth_timing_s gauge\nzeroth_timing_s 1.5\n");
  CHECK(prometheus_text(nullptr).empty());
}
