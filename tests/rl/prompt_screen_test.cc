#include "rl/prompt_screen.h"

#include <doctest/doctest.h>

#include <fstream>

#include "core/error.h"
#include "core/json_lines.h"
#include "rl/train_loop.h"
#include "support.h"

using namespace zeroth;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kContext = 64;

struct File {
  TemporaryFolder folder;
  fs::path path = folder.path() / "rows.jsonl";
  std::unique_ptr<Tokenizer> tokenizer = Tokenizer::load(kTinyBase);

  explicit File(const std::vector<Json>& rows) {
    std::ofstream out(path);
    for (const Json& row : rows) out << row << "\n";
  }
  std::unique_ptr<Task> task(const Json& more = Json::object()) const {
    Json options = {{"path", path.string()},
                    {"template", "bare"},
                    {"grader", "text"},
                    {"held_out_path", path.string()}};
    options.update(more);
    options.erase("held_out_path");
    return make_task("jsonl", options);
  }
  PromptScreen screen(const DataConfig& config = {}) const {
    return PromptScreen(*task(), PromptEncoder(*tokenizer, "auto"), kContext, 16, config);
  }
  std::string place(int line) const { return path.string() + ":" + std::to_string(line); }
};

Json row(const std::string& prompt, const std::string& answer = "x") {
  return {{"prompt", prompt}, {"answer", answer}};
}

std::string joined(const PromptScreen& screen) {
  std::string text;
  for (const std::string& line : screen.lines()) text += line + "\n";
  return text;
}

std::vector<Json> good_rows(int count) {
  std::vector<Json> rows;
  for (int i = 0; i < count; ++i) rows.push_back(row("question " + std::to_string(i)));
  return rows;
}

}  // namespace

TEST_CASE("good rows give nothing to say") {
  const File file(good_rows(30));
  const PromptScreen screen = file.screen();
  CHECK(joined(screen).empty());
  CHECK(screen.bad() == 0);
  CHECK(!screen.skips(file.task()->problem(Split::kTrain, 0), {1, 2, 3}));
}

TEST_CASE("rows that cannot be sampled from are named by file and line") {
  auto rows = good_rows(20);
  rows[3] = row(std::string(200, 'a'));
  rows[7] = row("");
  rows[9] = row(" \n");
  rows[12] = row(std::string(kContext, 'b'));  // fills the context to the last token
  rows[13] = row(std::string(kContext - 1, 'c'));
  const File file(rows);
  const PromptScreen screen = file.screen();
  CHECK(screen.bad() == 4);
  const std::string said = joined(screen);
  CAPTURE(said);
  CHECK(said.find(file.place(4) + ": the prompt has 200 tokens") != std::string::npos);
  CHECK(said.find(file.place(8) + ": the prompt is empty") != std::string::npos);
  CHECK(said.find(file.place(10) + ": the prompt is empty") != std::string::npos);
  CHECK(said.find(file.place(13)) != std::string::npos);
  CHECK(said.find("left out") != std::string::npos);
  // The one that leaves a single token is used, and said.
  CHECK(said.find("1 of ") != std::string::npos);
  CHECK(said.find(file.place(14) + ", leaves 1") != std::string::npos);
  const auto task = file.task();
  int64_t left = 0;
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t i = 0; i < task->size(split); ++i) {
      const auto prompt = file.tokenizer->encode(task->problem(split, i).prompt);
      left += !screen.skips(task->problem(split, i), prompt);
    }
  }
  CHECK(left == 16);
  DataConfig strict;
  strict.on_bad_row = "refuse";
  CHECK_THROWS_WITH_AS(file.screen(strict), doctest::Contains(file.place(4).c_str()), Error);
  CHECK_THROWS_WITH_AS(file.screen(strict), doctest::Contains("data.on_bad_row"), Error);
}

TEST_CASE("rows that look like mistakes are said, left out or refused") {
  auto rows = good_rows(20);
  rows[5] = row("question 2");
  rows[6] = row("Say: the quick brown fox jumps over", "the quick brown fox jumps over");
  rows[8] = row("1 + 2 = 3", "3");
  // The assistant's turn is no part of the prompt, so this row is as good as the others.
  rows[10] = {{"prompt", Json::array({{{"role", "user"}, {"content", "2+2?"}},
                                      {{"role", "assistant"}, {"content", "4"}}})},
              {"answer", "4"}};
  rows[11] = row("Which of 3 and 4 is larger, or equals 4", "4");  // named, not given away
  const File file(rows);
  PromptScreen screen = file.screen();
  const std::string said = joined(screen);
  CAPTURE(said);
  CHECK(screen.suspect() == 3);
  CHECK(screen.bad() == 0);
  CHECK(said.find(file.place(7) + ": the prompt holds its own answer") != std::string::npos);
  CHECK(said.find(file.place(9) + ": the prompt holds its own answer") != std::string::npos);
  CHECK(said.find(file.place(11)) == std::string::npos);
  const bool train_copy =
      said.find(file.place(6) + ": the same prompt as " + file.place(3)) != std::string::npos;
  CHECK(train_copy);
  const auto task = file.task();
  const auto kept = [&](const PromptScreen& by) {
    int64_t count = 0;
    for (const Split split : {Split::kTrain, Split::kHeldOut}) {
      for (int64_t i = 0; i < task->size(split); ++i)
        count += !by.skips(task->problem(split, i), {1});
    }
    return count;
  };
  CHECK(kept(screen) == 20);
  DataConfig config;
  config.on_suspect_row = "skip";
  CHECK(kept(file.screen(config)) == 17);
  config.on_suspect_row = "refuse";
  CHECK_THROWS_WITH_AS(file.screen(config), doctest::Contains("data.on_suspect_row"), Error);
}

TEST_CASE("a file without a usable row ends the run at its start") {
  const File file({row(""), row(std::string(900, 'z')), row(""), row(""), row(""), row("")});
  CHECK_THROWS_WITH_AS(file.screen(), doctest::Contains("no training prompt"), Error);
}

TEST_CASE("a mixture names the rows of its parts, and its repeats are no duplicates") {
  auto rows = good_rows(12);
  rows[2] = row("");
  const File file(rows);
  const Json options = {
      {"parts",
       Json::array(
           {{{"task", "parity"}, {"options", {{"bits", 4}}}, {"weight", 5}},
            {{"task", "jsonl"},
             {"options",
              {{"path", file.path.string()}, {"template", "bare"}, {"grader", "text"}}}}})}};
  const auto task = make_task("mixture", options);
  const PromptScreen screen(*task, PromptEncoder(*file.tokenizer, "auto"), kContext, 8, {});
  const std::string said = joined(screen);
  CAPTURE(said);
  CHECK(said.find(file.place(3) + ": the prompt is empty") != std::string::npos);
  CHECK(screen.bad() == 1);
  CHECK(screen.suspect() == 0);
  CHECK(task->part(task->problem(Split::kTrain, 0)) == "parity");
}

TEST_CASE("a run with a bad row trains, draws another problem in its place and counts it") {
  auto rows = good_rows(12);
  rows[4] = row(std::string(900, 'q'));
  const File file(rows);
  RunConfig config = tiny_run(make_tiny_base(file.folder.path() / "base"));
  config.task.name = "jsonl";
  config.task.options = {{"path", file.path.string()}, {"template", "bare"}, {"grader", "text"}};
  config.steps = 5;
  config.evaluation.every = 2;
  config.evaluation.problems = 12;
  const fs::path path = file.folder.path() / "run";
  train(*TrainingRun::create(path, config));
  int64_t skipped = 0, steps = 0;
  for_each_json_line(path / "metrics.jsonl", [&](const Json& metrics, int64_t) {
    skipped += metrics.value("data/skipped_prompts", int64_t{0});
    ++steps;
  });
  CHECK(steps == 5);
  CHECK(skipped >= 1);
}
