// Public question sets in their own columns: ten rows each load, right answers are right, others
// wrong.
#include <doctest/doctest.h>

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/files.h"
#include "tasks/builtin/countdown_rows.h"
#include "tasks/builtin/data_rows.h"
#include "tasks/rows.h"
#include "tasks/task.h"
#include "tasks/task_check.h"

using namespace zeroth;

namespace {

struct TempFile {
  std::string path;
  explicit TempFile(const std::string& content) {
    static int count = 0;
    path = (std::filesystem::temp_directory_path() /
            ("zeroth_data_sets_" + std::to_string(::getpid()) + "_" + std::to_string(++count) +
             ".jsonl"))
               .string();
    std::ofstream(path) << content;
  }
  ~TempFile() { std::filesystem::remove(path); }
};

std::unique_ptr<Task> task_of(const std::string& path, Json options = Json::object()) {
  options["path"] = path;
  options["held_out_every"] = 1000000;
  return make_task("jsonl", options);
}

double accuracy(const Task& task, const Problem& problem, const std::string& completion) {
  return task.grade(problem, completion, FinishReason::kStop).at(0).score;
}

bool has_note(const Task& task, const std::string& text) {
  for (const std::string& note : task.notes()) {
    if (note.find(text) != std::string::npos) return true;
  }
  return false;
}

std::string error_of(const std::string& content, Json options = Json::object()) {
  const TempFile file(content);
  try {
    task_of(file.path, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

}  // namespace

TEST_CASE("public sets: rows load, golds are right, perturbed ones wrong") {
  const Json answers = read_json_file("tests/data/rows/answers.json");
  CHECK(answers.size() == 12);
  for (const auto& [set, pairs] : answers.items()) {
    CAPTURE(set);
    const auto task = task_of("tests/data/rows/" + set + ".jsonl");
    REQUIRE(task->size(Split::kTrain) == 10);
    const bool numbers =
        set == "gsm8k" || set == "dapo_17k" || set == "aime" || set == "big_integers";
    CHECK(has_note(*task, numbers ? "grader number" : "grader math"));
    for (int64_t i = 0; i < 10; ++i) {
      const Problem problem = task->problem(Split::kTrain, i);
      const auto right = pairs[static_cast<size_t>(i)][0].get<std::string>();
      const auto wrong = pairs[static_cast<size_t>(i)][1].get<std::string>();
      CAPTURE(problem.answer);
      CAPTURE(right);
      CAPTURE(wrong);
      CHECK(problem.prompt.size() > 5);
      CHECK(problem.prompt.find("boxed{" + problem.answer) == std::string::npos);
      CHECK(accuracy(*task, problem, "<think>so</think><answer>" + right + "</answer>") == 1);
      CHECK(accuracy(*task, problem, "<think>so</think><answer>" + wrong + "</answer>") == 0);
      // The gold itself goes through the grader too.
      CHECK(accuracy(*task, problem, task->gold_completion(problem)) == 1);
      CHECK(accuracy(*task, problem, "<think>" + right) == 0);
    }
  }
}

TEST_CASE("Countdown files: the columns of TinyZero, verl and reasoning-gym, numbers as texts") {
  const Json answers = read_json_file("tests/data/rows/countdown_answers.json");
  for (const char* set : {"tinyzero", "verl", "texts", "reasoning_gym"}) {
    CAPTURE(set);
    // The same problems in each: two of them are held out.
    const TempFile held_out(
        "{\"nums\": [44, 19, 35], \"target\": 98}\n{\"nums\": [3, 5, 7], \"target\": 22}\n");
    const auto task = make_task(
        "countdown", {{"data", std::string("tests/data/rows/countdown_") + set + ".jsonl"},
                      {"held_out_data", held_out.path}});
    CHECK(task->size(Split::kHeldOut) == 2);
    CHECK(task->size(Split::kTrain) == 8);
    CHECK(has_note(*task, "2 training rows left out"));
  }
  const auto task = make_task(
      "countdown", {{"data", "tests/data/rows/countdown_verl.jsonl"}, {"held_out_every", 2}});
  REQUIRE(task->size(Split::kTrain) + task->size(Split::kHeldOut) == 10);
  int right = 0;
  for (const Split split : {Split::kTrain, Split::kHeldOut}) {
    for (int64_t i = 0; i < task->size(split); ++i) {
      const Problem problem = task->problem(split, i);
      for (const Json& answer : answers) {
        right += accuracy(*task, problem,
                          "<think></think><answer>" + answer.get<std::string>() + "</answer>") == 1;
      }
    }
  }
  CHECK(right == 10);
}

TEST_CASE("Countdown files: rows that nothing solves are left out, and said") {
  const TempFile file(
      "{\"nums\": [1, 1], \"target\": 7}\n{\"nums\": [3, 4], \"target\": 7}\n"
      "{\"nums\": [2, 4], \"target\": 8}\n{\"nums\": [8, 3, 8, 3], \"target\": 24}\n"
      "{\"nums\": [5, 6], \"target\": 11}\n");
  const auto task = make_task("countdown", {{"data", file.path}, {"held_out_every", 2}});
  CHECK(task->size(Split::kTrain) + task->size(Split::kHeldOut) == 4);
  CHECK(has_note(*task, "1 of 5 rows left out because no expression reaches the target"));
  CHECK(has_note(*task, ":1"));
  CHECK(is_solvable({8, 3, 8, 3}, 24));
  CHECK(!is_solvable({1, 1, 1, 1}, 24));
  CHECK(is_solvable({5, 5, 5, 1}, 24));
  CHECK(is_solvable({7, 3}, -4));
  CHECK_THROWS_AS(read_countdown_row(Json{{"nums", {1, 2.5}}, {"target", 3}}, "x"), Error);
  CHECK_THROWS_AS(read_countdown_row(Json{{"nums", "1, x"}, {"target", 3}}, "x"), Error);
  CHECK_THROWS_AS(read_countdown_row(Json{{"nums", {1, 2}}}, "x"), Error);
}

TEST_CASE("numbers in rows keep their digits") {
  CHECK(with_exact_numbers(R"({"a": 12, "b": "100000000000000000001", "c": -0.5e3})") ==
        R"({"a": 12, "b": "100000000000000000001", "c": -0.5e3})");
  CHECK(with_exact_numbers(R"({"a": 100000000000000000001, "b": [-9223372036854775809]})") ==
        R"({"a": "100000000000000000001", "b": ["-9223372036854775809"]})");
  CHECK(with_exact_numbers(R"({"x\"1234567890123456789012": 1})") ==
        R"({"x\"1234567890123456789012": 1})");
  CHECK(with_exact_numbers("123456789012345678901234567890") ==
        "\"123456789012345678901234567890\"");
}

TEST_CASE("the grader is chosen from the golds, and said") {
  const auto grader = [](std::initializer_list<const char*> golds) {
    std::vector<std::string> texts(golds.begin(), golds.end());
    std::vector<const std::string*> pointers;
    for (const std::string& text : texts) pointers.push_back(&text);
    return grader_for(pointers);
  };
  CHECK(grader({"1", "-2.5", "1,000", "$30", "50%", "work\n#### 7"}) == "number");
  CHECK(grader({"1", "\\frac{1}{2}"}) == "math");
  CHECK(grader({"1", "2x"}) == "math");
  CHECK(grader({"1, 2"}) == "math");
  CHECK(grader({"yes", "no"}) == "text");
  CHECK(grader({"Paris", "New York"}) == "text");
  CHECK(grader({"yes", "3"}) == "math");
  CHECK(grader({"(3, 4)"}) == "math");
  CHECK(gold_fault("number", "\\frac{7}{2}") != "");
  CHECK(gold_fault("number", "x^2+3x+4") != "");
  CHECK(gold_fault("number", "none") != "");
  CHECK(gold_fault("number", "5*3=<<5*3=15>>15\n#### 15") == "");
  CHECK(gold_fault("math", "$$") != "");
  CHECK(gold_fault("math", "\\frac{7}{2}") == "");
  CHECK(gold_fault("text", " ") != "");
}

TEST_CASE("golds that the grader cannot read are named with their line, or left out and counted") {
  const std::string rows =
      "{\"prompt\": \"a?\", \"answer\": \"1\"}\n{\"prompt\": \"b?\", \"answer\": "
      "\"\\\\frac{7}{2}\"}\n"
      "{\"prompt\": \"c?\", \"answer\": null}\n{\"prompt\": \"d?\", \"answer\": \"4\"}\n";
  std::string error = error_of(rows, {{"grader", "number"}});
  CHECK(error.find(":3: the answer is null (and 1 more row)") != std::string::npos);
  CHECK(error.find("bad_rows=drop") != std::string::npos);
  const TempFile file(rows);
  const auto task = task_of(file.path, {{"grader", "number"}, {"bad_rows", "drop"}});
  CHECK(task->size(Split::kTrain) == 2);
  CHECK(has_note(*task, "2 rows of 4 left out as unusable"));
  CHECK(error_of("{\"prompt\": \"a?\", \"answer\": \"$$\"}\n", {{"grader", "math"}})
            .find(":1: the math grader reads nothing") != std::string::npos);
  CHECK(error_of("{\"prompt\": \"a?\", \"answer\": []}\n").find("empty list") != std::string::npos);
  CHECK(has_note(*task_of(file.path, {{"bad_rows", "drop"}, {"filter", "answer=4"}}),
                 "left out by filter"));
}

TEST_CASE("the assistant's turn is no part of the prompt") {
  const TempFile file(
      R"({"messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "\\boxed{4}"}], "answer": "4"})"
      "\n");
  const auto task = task_of(file.path, {{"prompt_column", "messages"}});
  CHECK(task->problem(Split::kTrain, 0).prompt == "2+2?\n");
  CHECK(has_note(*task, "assistant's turns of 1 row"));
}

TEST_CASE("thinking that starts again pays in no grader") {
  for (const char* grader : {"number", "math", "text"}) {
    CAPTURE(grader);
    const TempFile file("{\"prompt\": \"2+2?\", \"answer\": \"4\"}\n");
    const auto task = task_of(file.path, {{"grader", grader}});
    const Problem problem = task->problem(Split::kTrain, 0);
    CHECK(accuracy(*task, problem, "4") == 1);
    for (const char* open : {"<think>4", "<think>a</think> 4 <think>", "<think>a</think><think>4",
                             "<think>a</think><answer>4</answer><think>"}) {
      CAPTURE(open);
      CHECK(accuracy(*task, problem, open) == 0);
    }
  }
}

TEST_CASE("task check: warnings about the data, junk in digits, answers in prompts") {
  const auto line = [](const TaskCheck& check, const std::string& name) {
    for (const TaskCheck::Line& line : check.lines) {
      if (line.name == name && (line.warning || !line.passed)) return line.detail;
    }
    return std::string();
  };
  // Golds of one digit: random bytes must not hit them.
  std::string rows;
  for (int i = 0; i < 300; ++i)
    rows += "{\"prompt\": \"" + std::to_string(i) + " apples?\", \"answer\": \"" +
            std::to_string(i % 10) + "\"}\n";
  {
    const TempFile file(rows);
    const auto task = make_task("jsonl", {{"path", file.path}});
    const TaskCheck check = check_task(*task, 200);
    CHECK_MESSAGE(check.passed(), check.to_text());
    CHECK(line(check, "data").find("grader number") != std::string::npos);
  }
  {
    std::string shown;
    for (int i = 0; i < 40; ++i)
      shown += "{\"prompt\": \"Say \\\\boxed{answer " + std::to_string(i) +
               "}\", \"answer\": \"answer " + std::to_string(i) + "\"}\n";
    const TempFile file(shown);
    const TaskCheck check =
        check_task(*make_task("jsonl", {{"path", file.path}, {"grader", "text"}}), 40);
    CHECK(line(check, "prompts").find("stands in the prompt") != std::string::npos);
  }
  {
    // A gold that the grader reads as something else than itself fails.
    const TempFile file(
        "{\"prompt\": \"a?\", \"answer\": \"The set of 3 or 4\"}\n{\"prompt\": \"b?\", \"answer\": "
        "\"\\u001b[31m5\"}\n");
    const TaskCheck check = check_task(
        *make_task("jsonl", {{"path", file.path}, {"grader", "text"}, {"held_out_every", 2}}), 5);
    CHECK(check.to_text().find('\x1b') == std::string::npos);
  }
}
