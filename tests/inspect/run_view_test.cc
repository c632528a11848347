#include "inspect/run_view.h"

#define DOCTEST_CONFIG_SUPER_FAST_ASSERTS
#include <doctest/doctest.h>

#include <algorithm>
#include <fstream>

#include "core/error.h"
#include "core/files.h"
#include "inspect/packed_counts.h"
#include "inspect/page.h"
#include "inspect/text_tools.h"
#include "record/run_recorder.h"
#include "record/trace_store.h"
#include "tests/inspect/made_run.h"
#include "tests/record/samples.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

MadeRun small_run() {
  MadeRun run;
  run.steps = 6;
  run.groups = 3;
  run.samples = 4;
  run.probe_every = 2;
  run.hostile = true;
  return run;
}

int64_t total(RunView& view, const std::string& query) {
  SearchRequest request;
  request.query = query;
  const Json result = view.search(request);
  REQUIRE_FALSE(result.contains("error"));
  CHECK(result["exact"] == true);
  return result["total"].get<int64_t>();
}

// The same count by reading everything.
int64_t counted(
    RunView& view,
    const std::function<bool(const TraceEntry&, const Sample&, const SampleScan&)>& test) {
  std::string why;
  const auto task =
      task_of_run(Json({{"task", {{"name", "countdown"}, {"options", {{"count", 3}}}}}}), &why);
  const SampleScanner scanner(task.get());
  int64_t count = 0;
  view.for_each_group([&](const TraceEntry& entry, const Group& group) {
    const auto scans = scanner.scan(group);
    for (size_t i = 0; i < scans.size(); ++i) count += test(entry, group.samples[i], scans[i]);
    return true;
  });
  return count;
}

}  // namespace

TEST_CASE("packed counts come back") {
  Rng rng(3, 3);
  for (int trial = 0; trial < 2000; ++trial) {
    std::vector<uint64_t> counts(rng.below(65));
    for (uint64_t& count : counts) {
      if (rng.chance(0.4)) count = (uint64_t{rng.below(1u << 31)} << 33) >> rng.below(64);
    }
    const std::string packed = pack_counts(counts);
    for (size_t i = 0; i < 64; ++i) {
      CHECK(packed_count(packed, static_cast<int64_t>(i)) == (i < counts.size() ? counts[i] : 0));
    }
    CHECK(packed_count(packed, -1) == 0);
    CHECK(packed_count(packed, 64) == 0);
    // Cut anywhere: a number, never a read past the end.
    for (size_t size = 0; size < packed.size(); ++size) packed_count(packed.substr(0, size), 63);
  }
  CHECK(pack_counts(std::vector<uint64_t>{5, 0, 300}).size() == 4);
}

TEST_CASE("the index agrees with reading everything") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  RunView view(folder.path());
  CHECK(view.update());
  CHECK_FALSE(view.update());
  CHECK(total(view, "") == 6 * 3 * 4 + 3 * 4 * 4);
  CHECK(total(view, "source=probe") == 3 * 4 * 4);
  CHECK(total(view, "flips>0") ==
        counted(view, [](auto&, auto&, const SampleScan& s) { return s.flips[0] > 0; }));
  CHECK(total(view, "aha>0") ==
        counted(view, [](auto&, auto&, const SampleScan& s) { return !s.ahas.empty(); }));
  // Every way to compare a step, against reading everything.
  const std::vector<std::pair<std::string, std::function<bool(int64_t)>>> steps = {
      {">3", [](int64_t s) { return s > 3; }},  {">=3", [](int64_t s) { return s >= 3; }},
      {"<3", [](int64_t s) { return s < 3; }},  {"<=3", [](int64_t s) { return s <= 3; }},
      {"=3", [](int64_t s) { return s == 3; }}, {"!=3", [](int64_t s) { return s != 3; }},
      {"=2.5", [](int64_t) { return false; }},  {">2.5", [](int64_t s) { return s > 2.5; }},
      {">99", [](int64_t) { return false; }},   {"<=99", [](int64_t) { return true; }}};
  for (const auto& [condition, holds] : steps) {
    CAPTURE(condition);
    const auto by_step = [&](const TraceEntry& e, auto&, auto&) { return holds(e.step); };
    CHECK(total(view, "step" + condition) == counted(view, by_step));
    CHECK(total(view, "wait step" + condition) ==
          counted(view, [&](const TraceEntry& e, const Sample& s, auto&) {
            return holds(e.step) && contains_phrase(s.text, "wait");
          }));
  }
  CHECK(total(view, "lost>0 or kept>0 or rep>=50") ==
        counted(view, [](auto&, auto&, const SampleScan& s) {
          return s.flips[1] > 0 || s.flips[2] > 0 || s.repetition >= 0.495;
        }));
  CHECK(total(view, "first>=0") ==
        counted(view, [](auto&, auto&, const SampleScan& s) { return s.first_correct >= 0; }));
  CHECK(total(view, "task!=countdown") == 0);
  CHECK(total(view, "sample=2 source=train") == 6 * 3);
  CHECK(total(view, "wait (correct=1 or len<60)") ==
        counted(view, [](auto&, const Sample& s, const SampleScan& scan) {
          return contains_phrase(s.text, "wait") && (scan.correct || s.tokens.size() < 60);
        }));
  CHECK(total(view, "correct=1 step>3") ==
        counted(view, [](const TraceEntry& e, auto&, const SampleScan& s) {
          return s.correct && e.step > 3;
        }));
  CHECK(total(view, "text~\"wait\"") == counted(view, [](auto&, const Sample& s, auto&) {
          return contains_phrase(s.text, "wait");
        }));
  CHECK(total(view, "\"no wait\"") == counted(view, [](auto&, const Sample& s, auto&) {
          return contains_phrase(s.text, "no wait");
        }));
  CHECK(total(view, "not \"no wait\"") == counted(view, [](auto&, const Sample& s, auto&) {
          return !contains_phrase(s.text, "no wait");
        }));
  CHECK(total(view, "loop=1 or finish=length") ==
        counted(view, [](auto&, const Sample& s, const SampleScan& scan) {
          return scan.loop || s.finish == FinishReason::kLength;
        }));
  CHECK(total(view, "task=countdown") == total(view, ""));
  CHECK(total(view, "task=\"count' OR '1\"") == 0);
}

TEST_CASE("search pages and orders") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  RunView view(folder.path());
  view.update();
  SearchRequest request;
  request.order = "-len";
  request.limit = 10;
  const Json first = view.search(request);
  request.offset = 10;
  const Json second = view.search(request);
  CHECK(first["hits"].size() == 10);
  CHECK(first["hits"][9]["len"] >= second["hits"][0]["len"]);
  CHECK(first["hits"][0]["at"] != second["hits"][0]["at"]);
  request.query = "wait";
  request.order = "step";
  request.offset = 0;
  request.limit = 1000;
  const Json all = view.search(request);
  REQUIRE(all["hits"].size() > 2);
  request.offset = 2;
  CHECK(view.search(request)["hits"][0] == all["hits"][2]);
  request.order = "nonsense";
  CHECK_THROWS_AS(view.search(request), Error);
  request.query = "step>";
  CHECK(view.search(request)["at"] == 5);
}

TEST_CASE("views of a step and a trace") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  RunView view(folder.path());
  view.update();
  const Json step = view.step(4, GroupSource::kTrain);
  CHECK(step["samples"].size() == 12);
  CHECK(step["groups"].size() == 3);
  CHECK_THROWS_WITH_AS(view.step(77, GroupSource::kTrain), doctest::Contains("traces ls"), Error);
  const Json trace = view.trace(SampleAddress::parse("4.1.2"));
  CHECK(trace["pieces"].size() == trace["ids"].size());
  std::string joined;
  for (const Json& piece : trace["pieces"]) joined += piece.get<std::string>();
  CHECK(joined.rfind(trace["text"].get<std::string>(), 0) == 0);
  CHECK(trace["experts"].size() == trace["ids"].size() * 8);
  CHECK(trace["router_confidence"].size() == trace["ids"].size() * 4);
  const TraceReader reader(folder.path() / "traces");
  for (const TraceEntry& entry : reader.groups()) {
    if (entry.step != 4 || entry.group != 1 || entry.source != GroupSource::kTrain) continue;
    CHECK(trace["router_confidence"] == Json(reader.read(entry).samples[2].router_confidence));
  }
  CHECK(view.trace(SampleAddress::parse("4.0.0"))["annotations"]["log_ratios"].size() > 0);
  for (const Json& candidate : trace["candidates"])
    CHECK(candidate["span"][1] <= trace["ids"].size());
  CHECK_THROWS_WITH_AS(view.trace(SampleAddress::parse("4.1.9")),
                       doctest::Contains("no sample 4.1.9"), Error);
  for (const char* bad :
       {"", "1", "1.2", "1.2.3.x", "1.2.3.train ", "-1.2.3", "1.2.3.probe.4", "a.b.c"}) {
    CHECK_THROWS_AS(SampleAddress::parse(bad), Error);
  }
  CHECK(SampleAddress::parse("1.2.3.probe").text() == "1.2.3.probe");
  CHECK(view.experts()["steps"].size() == 6);
  CHECK(view.probes()[0]["probe"] == true);
  CHECK(view.problem("countdown", view.probes()[0]["problem"])["groups"].size() >= 3);
  CHECK(view.prometheus().find("zeroth_reward ") != std::string::npos);
}

TEST_CASE("the index follows a run that grows, is cut back and goes another way") {
  TemporaryFolder folder;
  MadeRun run = small_run();
  make_run(folder.path(), run);
  RunView view(folder.path());
  view.update();
  const int64_t before = total(view, "");
  {
    RecorderOptions options;
    options.record.progress = false;
    RunRecorder recorder(folder.path(), options);
    recorder.truncate_to(3);
  }
  run.first_step = 4;
  run.steps = 2;
  run.seed = 9;
  make_run(folder.path(), run);
  view.update();
  CHECK(total(view, "") < before);
  CHECK(total(view, "step=6") == 0);
  CHECK(total(view, "flips>0") ==
        counted(view, [](auto&, auto&, const SampleScan& s) { return s.flips[0] > 0; }));
  CHECK(view.timeline()["steps"].size() == 5);
}

TEST_CASE("metrics that were cut and written past the place that was read are read anew") {
  TemporaryFolder folder;
  const auto write = [&](int from, int to, const std::string& note) {
    std::string rows;
    for (int step = 0; step < to; ++step) {
      rows +=
          Json({{"step", step}, {"reward", 0.5}, {"note", step < from ? "" : note}}).dump() + "\n";
    }
    std::ofstream(folder.path() / "metrics.jsonl") << rows << "{\"step\": 99, \"rew";
  };
  write(0, 6, "");
  RunView view(folder.path());
  view.update();
  CHECK(view.timeline()["steps"].size() == 6);
  // Back to step 3 and on to step 8, with rows of another length.
  write(3, 9, "0123456789");
  CHECK(view.update());
  CHECK(view.timeline()["steps"] == Json({0, 1, 2, 3, 4, 5, 6, 7, 8}));
  CHECK_FALSE(view.update());
  write(2, 4, "x");
  CHECK(view.update());
  CHECK(view.timeline()["steps"].size() == 4);
}

TEST_CASE("a broken index is thrown away, a damaged record skipped") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  write_file_atomic(folder.path() / "traces/index.sqlite",
                    "this is no database, whatever its name says, really");
  std::string stream = read_file(folder.path() / "traces/stream.zst");
  const size_t at = TraceReader(folder.path() / "traces").groups()[5].offset + 100;
  stream[at] = static_cast<char>(stream[at] ^ 1);
  write_file_atomic(folder.path() / "traces/stream.zst", stream);
  RunView view(folder.path());
  view.update();
  CHECK(total(view, "") == 6 * 3 * 4 + 3 * 4 * 4 - 4);
  CHECK(view.verify()["damage"].size() == 1);
}

TEST_CASE("the workers of a run are those of its status file, when that is one") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  RunView view(folder.path());
  view.update();
  CHECK(view.fleet() == nullptr);
  CHECK(view.info()["fleet"] == false);
  fs::create_directories(folder.path() / "fleet");
  const fs::path file = folder.path() / "fleet" / "status.json";
  for (const std::string& bad :
       {std::string("[1]"), std::string("{\"workers\": "), std::string(5 << 20, ' ') + "{}"}) {
    write_file_atomic(file, bad);
    CHECK(view.fleet() == nullptr);
  }
  write_file_atomic(file, R"({"workers_alive": 2, "workers": []})");
  CHECK(view.fleet()["workers_alive"] == 2);
  CHECK(view.info()["fleet"] == true);
  fs::remove(file);
  fs::create_symlink("/dev/zero", file);
  CHECK(view.fleet() == nullptr);
}

TEST_CASE("a folder that is no run is refused by name") {
  TemporaryFolder folder;
  CHECK_THROWS_WITH_AS(RunView(folder.path()), doctest::Contains("is no run"), Error);
  CHECK_THROWS_WITH_AS(RunView(folder.path() / "nowhere"), doctest::Contains("no run folder"),
                       Error);
}

TEST_CASE("the exported file holds no markup of a trace") {
  TemporaryFolder folder;
  make_run(folder.path(), small_run());
  RunView view(folder.path());
  view.update();
  const std::string html = exported_page(view, 50);
  CHECK(html.find("<script>alert") == std::string::npos);
  CHECK(html.find("<img src=x") == std::string::npos);
  CHECK(html.find("\\u003cscript>alert") != std::string::npos);
  CHECK(html.find("http://") ==
        html.find("http://www.w3.org/2000/svg"));  // names a format, loads nothing
  CHECK(html.size() < 5'000'000);
}

TEST_CASE("differences of words") {
  const auto text = [](const std::vector<DiffPart>& parts) {
    std::string out;
    for (const DiffPart& part : parts) {
      const char* mark = part.side == DiffPart::Side::kBoth    ? ""
                         : part.side == DiffPart::Side::kFirst ? "-"
                                                               : "+";
      out += "[" + std::string(mark) + part.text + "]";
    }
    return out;
  };
  CHECK(text(diff_words("a b c", "a x c")) == "[a ][-b][+x][ c]");
  CHECK(text(diff_words("", "")) == "");
  CHECK(text(diff_words("", "new")) == "[+new]");
  CHECK(text(diff_words("same", "same")) == "[same]");
  CHECK(text(diff_words("one two", "")) == "[-one two]");
  // Both texts come back from any difference.
  Rng rng(3, 3);
  for (int trial = 0; trial < 500; ++trial) {
    std::string texts[2];
    for (std::string& t : texts) {
      for (uint32_t i = rng.below(30); i > 0; --i)
        t += std::string(1, static_cast<char>('a' + rng.below(3))) + " ";
    }
    std::string back[2];
    for (const DiffPart& part : diff_words(texts[0], texts[1])) {
      if (part.side != DiffPart::Side::kSecond) back[0] += part.text;
      if (part.side != DiffPart::Side::kFirst) back[1] += part.text;
    }
    CHECK(back[0] == texts[0]);
    CHECK(back[1] == texts[1]);
  }
}

TEST_CASE("regular expressions are bounded") {
  const SearchPattern slow("(a+)+$", false);
  CHECK(slow.find_all(std::string(5000, 'a') + "b", 10).empty());
  CHECK(SearchPattern("W.T", true).find_all("wait wit", 10) ==
        std::vector<std::pair<size_t, size_t>>{{5, 8}});
  CHECK(SearchPattern("", false).find_all("ab", 10).size() == 3);
  CHECK(SearchPattern(".", false).find_all("\xff", 10).empty());
  CHECK_THROWS_WITH_AS(SearchPattern("(", false), doctest::Contains("^"), Error);
}
