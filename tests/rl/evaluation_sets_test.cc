#include "rl/evaluation_sets.h"

#include <doctest/doctest.h>

#include <fstream>
#include <set>

#include "core/error.h"
#include "core/json_lines.h"
#include "record/trace_store.h"
#include "rl/train_loop.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

std::vector<Json> rows_of(const fs::path& run) {
  std::vector<Json> rows;
  for_each_json_line(run / "metrics.jsonl", [&](const Json& row, int64_t) { rows.push_back(row); });
  return rows;
}

}  // namespace

TEST_CASE("a run evaluates on other tasks and files, with limits of their own, into the traces") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  std::ofstream file(folder.path() / "rows.jsonl");
  for (int i = 0; i < 30; ++i)
    file << Json{{"prompt", "q" + std::to_string(i)}, {"answer", std::to_string(i)}} << "\n";
  file.close();
  config.steps = 5;
  config.evaluation.every = 2;
  config.evaluation.problems = 3;
  config.evaluation.samples = 2;
  config.evaluation.sets = Json::parse(R"([
    {"name": "long", "task": {"name": "parity", "options": {"bits": 6}}, "problems": 2, "max_tokens": 20},
    {"name": "file", "task": {"name": "jsonl"}, "split": "train", "samples": 1, "temperature": 0}])");
  config.evaluation.sets[1]["task"]["options"] = {{"path", (folder.path() / "rows.jsonl").string()},
                                                  {"template", "bare"}};
  const fs::path path = folder.path() / "run";
  train(*TrainingRun::create(path, config));
  const auto rows = rows_of(path);
  REQUIRE(rows.size() == 5);
  for (const size_t step : {size_t{0}, size_t{2}, size_t{4}}) {
    CAPTURE(step);
    CHECK(rows[step].at("eval/n") == 3);
    CHECK(rows[step].at("eval/long/n") == 2);
    CHECK(rows[step].at("eval/long/samples") == 2);
    CHECK(rows[step].at("eval/file/samples") == 1);
    CHECK(rows[step].at("eval/file/n") == 3);
    CHECK(rows[step].contains("eval/file/pass@1"));
  }
  CHECK(!rows[1].contains("eval/pass@1"));
  for (const Json& row : rows) {
    for (const auto& [name, value] : row.items()) CHECK(name.find("eval_end") == std::string::npos);
  }
  // Samples of the evaluations are in the traces, each group once.
  const TraceReader reader(path / "traces");
  std::map<uint32_t, std::vector<Group>> groups;
  for (const TraceEntry& entry : reader.groups()) {
    if (entry.source != GroupSource::kEval) continue;
    CHECK(entry.group == groups[entry.step].size());
    groups[entry.step].push_back(reader.read(entry));
  }
  REQUIRE(groups.size() == 3);
  for (const auto& [step, list] : groups) {
    REQUIRE(list.size() == 8);
    CHECK(list[0].problem.task == "parity");
    CHECK(list[5].problem.task == "jsonl");
    size_t longest = 0;
    for (const Group& group : list) {
      for (const Sample& sample : group.samples) longest = std::max(longest, sample.tokens.size());
    }
    CHECK(longest <= 20);
  }
}

TEST_CASE("a set that is none is refused before the run begins, by name") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.evaluation.every = 1;
  const auto refused = [&](const char* sets, const char* text) {
    config.evaluation.sets = Json::parse(sets);
    static int number = 0;
    const fs::path path = folder.path() / ("run" + std::to_string(number++));
    CHECK_THROWS_WITH_AS(TrainingRun::create(path, config), doctest::Contains(text), Error);
  };
  refused(R"({"name": "x"})", "evaluation.sets is no list");
  refused(R"([{"task": {"name": "parity"}}])", "the name \"\"");
  refused(R"([{"name": "a/b"}])", "a/b");
  refused(R"([{"name": "x"}, {"name": "x"}])", "two sets");
  refused(R"([{"name": "x", "problem": 3}])", "problems");
  refused(R"([{"name": "x", "task": {"name": "partiy"}}])", "parity");
}

TEST_CASE("the parts of a mixture have figures of their own, in training and evaluation") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.task.name = "mixture";
  config.task.options = Json::parse(R"({"parts": [{"task": "parity", "options": {"bits": 4}},
                                                  {"task": "parity", "options": {"bits": 5}},
                                                  {"task": "arithmetic"}]})");
  config.steps = 2;
  config.prompts_per_step = 6;
  config.evaluation.every = 1;
  config.evaluation.problems = 6;
  const fs::path path = folder.path() / "run";
  train(*TrainingRun::create(path, config));
  const auto rows = rows_of(path);
  double groups = 0;
  for (const std::string part : {"parity.0", "parity.1", "arithmetic"}) {
    CAPTURE(part);
    groups += rows[0].value("tasks/" + part + "/groups", 0.0);
    CHECK(rows[0].contains("tasks/" + part + "/groups") ==
          rows[0].contains("tasks/" + part + "/solve_rate"));
    CHECK(rows[0].contains("eval/" + part + "/pass@1"));
  }
  CHECK(groups == 6);
}

TEST_CASE("the best checkpoint by an evaluation is kept, and every n-th") {
  TemporaryFolder folder;
  RunConfig config = tiny_run(make_tiny_base(folder.path() / "base"));
  config.steps = 12;
  config.checkpoint_every = 1;
  config.keep_last = 1;
  config.keep_every = 5;
  config.keep_best = "-eval/mean_length";
  config.optimizer.lr = 3e-3;
  config.evaluation.every = 3;
  config.evaluation.problems = 6;
  config.evaluation.samples = 4;
  const fs::path path = folder.path() / "run";
  train(*TrainingRun::create(path, config));
  const auto rows = rows_of(path);
  // By the rows: evaluations of steps 0, 3, 6, 9 and of the end.
  int64_t best = -1;
  double value = 0;
  for (const auto& [step, row] : {std::pair{0, 0}, {3, 3}, {6, 6}, {9, 9}, {12, 11}}) {
    const double length = rows[row].at("eval/mean_length").get<double>();
    if (best >= 0 && length >= value) continue;
    best = step;
    value = length;
  }
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(path / "checkpoints"))
    names.insert(entry.path().filename());
  std::set<std::string> wanted = {"latest", "best", "step-0", "step-5", "step-10", "step-12"};
  wanted.insert("step-" + std::to_string(best));
  CHECK(names == wanted);
  CHECK(fs::read_symlink(path / "checkpoints" / "best") == "step-" + std::to_string(best));

  // It is known after a resumption, and a metric that does not exist is refused.
  config.steps = 13;
  train(*TrainingRun::resume(path, config));
  CHECK(fs::exists(path / "checkpoints" / ("step-" + std::to_string(best))));
  config.keep_best = "eval/pass1";
  CHECK_THROWS_WITH_AS(train(*TrainingRun::create(folder.path() / "other", config)),
                       doctest::Contains("eval/pass@1"), Error);
  config.keep_best = "reward";
  config.evaluation.every = 0;
  train(*TrainingRun::create(folder.path() / "third", config));
  CHECK(fs::is_symlink(folder.path() / "third" / "checkpoints" / "best"));
}
