#include "record/run_recorder.h"

#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include "core/error.h"
#include "core/json_lines.h"
#include "core/terminal.h"
#include "record/progress.h"
#include "record/tensorboard.h"
#include "tests/record/samples.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

RecorderOptions quiet_options() {
  RecorderOptions options;
  options.record.progress = false;
  options.run_info = Json({{"task", {{"name", "countdown"}}}});
  options.vocabulary = letters_vocabulary();
  return options;
}

void record_steps(RunRecorder& recorder, int from, int to, double speed) {
  for (int step = from; step <= to; ++step) {
    std::vector<Group> groups = {random_group(7, step, 0, 3, 40), random_group(7, step, 1, 3, 40)};
    recorder.record(step,
                    Json({{"reward", 0.25 * step},
                          {"loss", -0.5},
                          {"timing/tokens_per_s", speed},
                          {"sample_seconds", speed / 2},
                          {"step_time", 1 / speed},
                          {"note", "text"}}),
                    groups);
  }
}

std::string rows_without_timing(const fs::path& path) {
  std::string out;
  for_each_json_line(path, [&](const Json& row, int64_t) {
    Json copy = row;
    copy.erase("timing");
    out += copy.dump() + "\n";
  });
  return out;
}

std::string hex(std::string_view bytes) {
  static const char* const digits = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[c & 15];
  }
  return out;
}

}  // namespace

TEST_CASE("a row keeps timings apart, at the end") {
  TemporaryFolder folder;
  RunRecorder recorder(folder.path(), quiet_options());
  record_steps(recorder, 1, 1, 100.0);
  const std::string content = read_file(folder.path() / "metrics.jsonl");
  CHECK(content.find(
            R"({"step":1,"reward":0.25,"loss":-0.5,"note":"text","scan/reflection_rate":)") == 0);
  const Json row = Json::parse(content);
  CHECK(row["timing"] ==
        Json({{"tokens_per_s", 100.0}, {"sample_seconds", 50.0}, {"step_time", 0.01}}));
  CHECK(std::prev(row.end()).key() == "timing");
  CHECK_FALSE(is_timing_metric("completions/mean_length"));
  CHECK(is_timing_metric("timing/anything"));
}

TEST_CASE("killed and resumed leaves the bytes of an uninterrupted run") {
  TemporaryFolder whole;
  TemporaryFolder resumed;
  {
    RunRecorder recorder(whole.path(), quiet_options());
    record_steps(recorder, 1, 6, 100.0);
  }
  {
    RunRecorder recorder(resumed.path(), quiet_options());
    record_steps(recorder, 1, 4, 50.0);
  }
  {
    // The process died while it wrote step 5.
    FileWriter torn(resumed.path() / "metrics.jsonl", true);
    torn.write("{\"step\":5,\"rew");
    FileWriter torn_trace(resumed.path() / "traces" / "stream.zst", true);
    torn_trace.write(std::string_view("\x5a\x2a\x4d\x18garbage", 11));
  }
  {
    RunRecorder recorder(resumed.path(), quiet_options());
    recorder.truncate_to(3);
    record_steps(recorder, 4, 6, 75.0);
  }
  CHECK(rows_without_timing(whole.path() / "metrics.jsonl") ==
        rows_without_timing(resumed.path() / "metrics.jsonl"));
  CHECK(read_file(whole.path() / "traces/stream.zst") ==
        read_file(resumed.path() / "traces/stream.zst"));
  CHECK(read_file(whole.path() / "traces/offsets.idx") ==
        read_file(resumed.path() / "traces/offsets.idx"));
}

TEST_CASE("truncate_to(-1) starts the run over") {
  TemporaryFolder folder;
  RunRecorder recorder(folder.path(), quiet_options());
  record_steps(recorder, 0, 2, 10);
  recorder.truncate_to(-1);
  CHECK(read_file(folder.path() / "metrics.jsonl").empty());
  CHECK(TraceReader(folder.path() / "traces").groups().empty());
  record_steps(recorder, 0, 1, 10);
  CHECK(TraceReader(folder.path() / "traces").groups().size() == 4);
}

TEST_CASE("thinning keeps the first steps and every n-th, some groups of each") {
  TemporaryFolder folder;
  RecorderOptions options = quiet_options();
  options.record.trace_every = 5;
  options.record.trace_groups = 1;
  RunRecorder recorder(folder.path(), options);
  record_steps(recorder, 1, 10, 10);
  recorder.annotate(10, 0, "ratios", {{1.0f}, {1.0f}, {1.0f}});
  recorder.annotate(10, 1, "ratios", {{1.0f}, {1.0f}, {1.0f}});  // its group was not written
  TraceReader reader(folder.path() / "traces");
  std::vector<uint32_t> steps;
  for (const TraceEntry& entry : reader.groups()) steps.push_back(entry.step);
  CHECK(steps == std::vector<uint32_t>{1, 5, 10});
  CHECK(reader.annotations(reader.groups().back()).size() == 1);
}

TEST_CASE("TensorBoard bytes: header, event, checksums") {
  // Golden bytes taken apart by hand: length 24, its masked CRC, wall_time = 0, "brain.Event:2",
  // masked CRC.
  CHECK(hex(tensorboard_header(0)) ==
        "1800000000000000a37f4b22090000000000000000"
        "1a0d627261696e2e4576656e743a32"
        "eedf28a3");
  const std::string event = tensorboard_event(300, 1.5, {{"reward", 0.25}});
  // 09 wall_time | 10 step ac02 | 2a summary 0f { 0a value 0d { 0a tag 06 "reward" 15 0000803e } }
  CHECK(hex(event.substr(12, event.size() - 16)) ==
        "09000000000000f83f"
        "10ac02"
        "2a0f0a0d0a06726577617264150000803e");
}

TEST_CASE("TensorBoard files are cut back to a step and continued in a new file") {
  TemporaryFolder folder;
  {
    TensorBoardWriter writer(folder.path());
    for (int step = 1; step <= 5; ++step) writer.write(step, 0, {{"a", step}});
  }
  const fs::path first = folder.path() / "events.out.tfevents.0000000001.zeroth";
  std::string expected = tensorboard_header(0);
  for (int step = 1; step <= 3; ++step) expected += tensorboard_event(step, 0, {{"a", step}});
  {
    FileWriter torn(first, true);
    torn.write("torn");
  }
  TensorBoardWriter writer(folder.path());
  writer.truncate_to(3);
  CHECK(read_file(first) == expected);
  writer.write(4, 0, {{"a", 4}});
  CHECK(read_file(first) == expected);
  CHECK(read_file(folder.path() / "events.out.tfevents.0000000004.zeroth") ==
        tensorboard_header(0) + tensorboard_event(4, 0, {{"a", 4}}));
  writer.truncate_to(0);
  CHECK(fs::is_empty(folder.path()));
}

TEST_CASE("the progress line") {
  StepProgress step{"", 12, 100, 0.431, 0.36, 82.1, 1.02, 0.125, 20000, 7234, 0.31};
  CHECK(progress_text(step, 130, 10, false) ==
        "step  12/100 [#.........]  reward 0.431  solved  36%  len 82  entropy 1.02  zero-std 12%  "
        "7.2k tok/s  mfu 31%  eta 2m10s");
  step.total_steps = 0;
  step.mfu = -1;
  CHECK(progress_text(step, -1, 10, false) ==
        "step 12  reward 0.431  solved  36%  len 82  entropy 1.02  zero-std 12%  7.2k tok/s");
  step.staleness = 1.44;
  step.workers = 3;
  CHECK(
      progress_text(step, 130, 10, false).ends_with("7.2k tok/s  stale 1.4  workers 3  eta 2m10s"));
  step.run = "rank8";
  CHECK(progress_text(step, -1, 0, false).starts_with("rank8  step 12  reward"));
  CHECK(short_duration(59.4) == "59s");
  CHECK(short_duration(3600 * 2 + 200) == "2h03m");
}

TEST_CASE("hostile text is shown, not obeyed") {
  CHECK(printable("a\x1b[31mb") == "a<U+001B>[31mb");
  CHECK(printable("\xe2\x80\xaegnp") == "<U+202E>gnp");
  CHECK(printable("x\xff\xc3") == "x<0xFF><0xC3>");
  CHECK(printable("\xc0\xaf\xed\xa0\x80") == "<0xC0><0xAF><0xED><0xA0><0x80>");
  CHECK(printable("tab\tline\nü") == "tab\tline\nü");
  CHECK(printable_line("one\ntwo", 20) == "one⏎two");
  CHECK(printable_line("abcdefghij", 5) == "abcd…");
}
