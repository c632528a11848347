// Every task of the table is held against `zeroth task check`; the registry; options; data files;
// mixtures.
#include "tasks/task.h"

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "core/files.h"
#include "tasks/scaffold.h"
#include "tasks/task_check.h"

using namespace zeroth;

namespace {

// A file that is gone at the end of the test.
struct TempFile {
  explicit TempFile(const std::string& content, const std::string& name = "zeroth_task_test.jsonl")
      : path((std::filesystem::temp_directory_path() / name).string()) {
    std::ofstream(path) << content;
  }
  ~TempFile() { std::filesystem::remove(path); }
  std::string path;
};

std::string rows(int n, const std::string& answer_prefix = "") {
  std::string text;
  for (int i = 0; i < n; ++i) {
    text += R"({"question": "What is )" + std::to_string(i) + R"( plus one?", "answer": ")" +
            answer_prefix + std::to_string(i + 1) + "\"}\n";
  }
  return text;
}

std::string verdicts_text(const Task& task, const Problem& p, const std::string& text,
                          FinishReason finish = FinishReason::kStop) {
  const auto v = task.grade(p, text, finish);
  return std::string(to_string(v[0].reason)) + "/" + to_string(v[1].reason);
}

}  // namespace

TEST_CASE("made tasks pass their own check") {
  for (const char* spec :
       {"countdown", "countdown:count=4,max_number=20",
        "countdown:count=6,max_number=50,max_value=100", "parity:bits=24",
        "parity:bits=8,separator=\" \"", "arithmetic:digits=5,ops=+-*",
        "arithmetic:template=r1_zero_think", "countdown:template=r1_zero,stop_at_answer=true",
        "countdown:template=chatml,question=words"}) {
    CAPTURE(spec);
    const TaskCheck check = check_task(*make_task(spec), 60);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
}

TEST_CASE("the check finds what it is for") {
  // Rewards everything, and gives other problems each time.
  class Bad : public Task {
   public:
    std::string name() const override { return "bad"; }
    int64_t size(Split) const override { return 10; }
    Problem problem(Split, int64_t i) const override {
      Problem p;
      p.id = std::to_string(i);
      p.prompt = "p" + std::to_string(i) + (drift ? std::to_string(count++) : "");
      p.answer = "5";
      return p;
    }
    std::vector<Verdict> grade(const Problem&, std::string_view, FinishReason) const override {
      if (throws) throw std::runtime_error("oops");
      Verdict v;
      v.name = "accuracy";
      v.score = score;
      return {v};
    }
    std::string gold_completion(const Problem&) const override {
      return "<think></think><answer>5</answer>";
    }
    bool drift = false, throws = false;
    double score = 1;
    mutable int count = 0;
  };
  const auto failed = [](const TaskCheck& check) {
    std::string names;
    for (const auto& line : check.lines) names += line.passed ? "" : line.name + " ";
    return names;
  };
  Bad bad;
  CHECK(failed(check_task(bad, 5)) == "splits junk perturbed echo ");
  CHECK(check_task(bad, 5).false_positives == 1);
  bad.score = 0;
  CHECK(failed(check_task(bad, 5)) == "splits gold ");
  CHECK(check_task(bad, 5).false_negatives == 1);
  CHECK(check_task(bad, 5).guess_rate == 1);
  bad.drift = true;
  CHECK(failed(check_task(bad, 5)).find("problems") != std::string::npos);
  bad.throws = true;
  CHECK(failed(check_task(bad, 5)).find("junk") != std::string::npos);
}

TEST_CASE("registry: names, options, specs") {
  CHECK_THROWS_WITH_AS(make_task("countdwn"), doctest::Contains("did you mean \"countdown\""),
                       Error);
  CHECK_THROWS_WITH_AS(make_task("countdown:cuont=4"), doctest::Contains("count"), Error);
  CHECK_THROWS_AS(make_task("countdown:count"), Error);
  CHECK_THROWS_AS(make_task("countdown:count=two"), Error);
  CHECK_THROWS_AS(make_task("countdown:count=99"), Error);
  CHECK_THROWS_AS(make_task("countdown:max_number=2,held_out_every=1000000"), Error);
  CHECK_THROWS_AS(make_task("parity:bits=1"), Error);
  CHECK_THROWS_AS(make_task("parity:separator=01"), Error);
  CHECK_THROWS_AS(make_task("arithmetic:ops=^"), Error);
  CHECK_THROWS_AS(make_task("gsm8k"), Error);
  CHECK_THROWS_AS(make_task("gsm8k:path=/nonexistent.jsonl"), Error);
  const auto task = make_task("countdown:template=\"Q, {question}, A:\",count=3");
  CHECK(task->problem(Split::kTrain, 0).prompt.starts_with("Q, Numbers "));
  std::set<std::string> names;
  for (const TaskInfo& info : list_tasks()) {
    CHECK(names.insert(info.name).second);
    CHECK(!info.summary.empty());
    CHECK(!info.options_help.empty());
  }
}

TEST_CASE("gsm8k: sample file, gold, extraction") {
  const auto task = make_task("gsm8k:path=tests/data/gsm8k_sample.jsonl,held_out_every=3");
  CHECK(task->size(Split::kTrain) + task->size(Split::kHeldOut) == 20);
  const TaskCheck check = check_task(*task, 100);
  CHECK_MESSAGE(check.passed(), check.to_text());
  Problem p;
  p.answer = "It costs 20-2 = <<20-2=18>>18\n#### 18";
  CHECK(verdicts_text(*task, p, "so it is $18.00.") == "correct/format_bad");
  CHECK(verdicts_text(*task, p, "so it is $18.00", FinishReason::kLength) == "truncated/truncated");
  CHECK(verdicts_text(*task, p, "<think>9</think><answer>18 eggs</answer>") == "correct/format_ok");
  CHECK(verdicts_text(*task, p, "<think>18</think><answer>19</answer>") == "wrong/format_ok");
}

TEST_CASE("columns: usual names, verl, TRL chat, nested, filter, gz") {
  {
    const TempFile file(
        R"({"data_source": "gsm8k", "prompt": [{"role": "user", "content": "2+2?"}], "reward_model": {"style": "rule", "ground_truth": "4"}})"
        "\n"
        R"({"data_source": "math", "prompt": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "3+3?"}], "reward_model": {"style": "rule", "ground_truth": "6"}})"
        "\n");
    const auto task = make_task("jsonl", {{"path", file.path}, {"held_out_every", 1000000}});
    REQUIRE(task->size(Split::kTrain) == 2);
    CHECK(task->problem(Split::kTrain, 0).prompt == "2+2?\n");
    CHECK(task->problem(Split::kTrain, 0).answer == "4");
    CHECK(task->problem(Split::kTrain, 0).meta["data_source"] == "gsm8k");
    CHECK(task->problem(Split::kTrain, 1).prompt == "be brief\n\n3+3?\n");
    const auto chat = make_task(
        "jsonl", {{"path", file.path}, {"held_out_every", 1000000}, {"template", "chatml"}});
    CHECK(chat->problem(Split::kTrain, 1).prompt ==
          "<|im_start|>system\nbe "
          "brief<|im_end|>\n<|im_start|>user\n3+3?<|im_end|>\n<|im_start|>assistant\n");
    const auto some = make_task(
        "jsonl",
        {{"path", file.path}, {"held_out_every", 1000000}, {"filter", "data_source=math"}});
    CHECK(some->size(Split::kTrain) == 1);
  }
  {
    const TempFile file(R"({"q": {"text": "2+2?"}, "gold": 4})"
                        "\n");
    const auto task = make_task("jsonl", {{"path", file.path},
                                          {"prompt_column", "q.text"},
                                          {"answer_column", "gold"},
                                          {"held_out_every", 1000000}});
    CHECK(task->problem(Split::kTrain, 0).answer == "4");
    CHECK_THROWS_WITH_AS(make_task("jsonl", {{"path", file.path}}),
                         doctest::Contains(":1: no column for the prompt"), Error);
  }
  {
    const TempFile held(rows(5), "zeroth_task_held.jsonl");
    const TempFile file(rows(30));
    const auto task = make_task("jsonl", {{"path", file.path}, {"held_out_path", held.path}});
    CHECK(task->size(Split::kHeldOut) == 5);
    CHECK(task->size(Split::kTrain) == 25);
  }
}

TEST_CASE("data files: bad lines name file, line and fix") {
  const auto error_of = [](const std::string& content, Json options = Json::object()) {
    const TempFile file(content);
    options["path"] = file.path;
    try {
      make_task("jsonl", options);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("none");
  };
  CHECK(error_of("{\"prompt\": \"a\", \"answer\": \"1\"}\n{\"prompt\": ").find(".jsonl:2") !=
        std::string::npos);
  CHECK(error_of("[1, 2]\n").find("no object") != std::string::npos);
  CHECK(error_of("{\"prompt\": {}, \"answer\": \"1\"}\n").find("neither text") !=
        std::string::npos);
  CHECK(error_of("{\"prompt\": \"a\", \"answer\": \"none\"}\n", {{"grader", "number"}})
            .find("no number") != std::string::npos);
  CHECK(error_of("{\"prompt\": [{\"role\": 1}], \"answer\": \"1\"}\n").find("chat message") !=
        std::string::npos);
  CHECK(error_of("{\"prompt\": \"a\", \"answer\": \"1\"}\n", {{"filter", "x"}})
            .find("COLUMN=VALUE") != std::string::npos);
}

TEST_CASE("math and text graders") {
  const TempFile file(R"({"problem": "half?", "answer": "\\frac{1}{2}"})"
                      "\n"
                      R"({"problem": "third?", "solution": "so \\boxed{\\frac{1}{3}}."})"
                      "\n");
  const auto task = make_task("math", {{"path", file.path}, {"held_out_every", 1000000}});
  const Problem p = task->problem(Split::kTrain, 0), q = task->problem(Split::kTrain, 1);
  CHECK(verdicts_text(*task, p, "<think>hm</think><answer>0.5</answer>") == "correct/format_ok");
  CHECK(verdicts_text(*task, p, "so \\boxed{1/2}") == "correct/format_bad");
  CHECK(verdicts_text(*task, p, "so \\boxed{1/3}") == "wrong/format_bad");
  CHECK(verdicts_text(*task, q, "so \\boxed{1/3}") == "correct/format_bad");
  CHECK(verdicts_text(*task, p, "<think>\\boxed{1/2}") == "no_answer/format_bad");
  const TempFile words(R"({"prompt": "capital of France?", "answer": "Paris"})"
                       "\n",
                       "zeroth_words.jsonl");
  const auto text =
      make_task("jsonl", {{"path", words.path}, {"grader", "text"}, {"held_out_every", 1000000}});
  const Problem r = text->problem(Split::kTrain, 0);
  CHECK(verdicts_text(*text, r, "<think></think><answer> paris </answer>") == "correct/format_ok");
  CHECK(verdicts_text(*text, r, "<think></think><answer>Paris or Rome</answer>") ==
        "wrong/format_ok");
}

TEST_CASE("mixture: shares, routing, reports, splits") {
  const Json options =
      Json::parse(R"({"parts": [{"task": "parity", "weight": 3, "options": {"bits": 12}},
                                                {"task": "countdown", "weight": 1}]})");
  const auto task = make_task("mixture", options);
  std::map<std::string, int> count;
  std::set<std::string> ids;
  for (int i = 0; i < 2000; ++i) {
    const Problem p = task->problem(Split::kTrain, i);
    ++count[p.task];
    CHECK(ids.insert(p.id).second);
  }
  CHECK(count["parity"] == 1500);
  CHECK(count["countdown"] == 500);
  for (int i = 0; i < 8; ++i) {
    const Problem p = task->problem(Split::kTrain, i);
    const std::string gold = task->gold_completion(p);
    const auto v = task->grade(p, gold, FinishReason::kStop);
    CHECK(v[0].score == 1);
    CHECK(v[0].info[p.task] == 1);
    CHECK(v[0].info[p.task + "_right"] == 1);
  }
  const TaskCheck check = check_task(*task, 60);
  CHECK_MESSAGE(check.passed(), check.to_text());
  // Batches keep the order.
  std::vector<Problem> problems;
  for (int i = 0; i < 20; ++i) problems.push_back(task->problem(Split::kTrain, i));
  std::vector<std::string> texts;
  for (int i = 0; i < 20; ++i)
    texts.push_back(i % 3 == 0 ? "" : task->gold_completion(problems[i]));
  std::vector<GradeRequest> requests;
  for (int i = 0; i < 20; ++i) requests.push_back({&problems[i], texts[i], FinishReason::kStop});
  const auto verdicts = task->grade_batch(requests);
  for (int i = 0; i < 20; ++i) CHECK(verdicts[i][0].score == (i % 3 == 0 ? 0 : 1));

  // A small part repeats in training and ends the held-out split.
  const TempFile file(rows(40));
  const Json small = {
      {"parts",
       {{{"task", "jsonl"}, {"options", {{"path", file.path}, {"held_out_every", 4}}}},
        {{"task", "countdown"}}}}};
  const auto mixed = make_task("mixture", small);
  const auto part = make_task("jsonl", small["parts"][0]["options"]);
  std::set<std::string> held_out;
  for (int64_t i = 0; i < mixed->size(Split::kHeldOut); ++i) {
    CHECK(held_out.insert(mixed->problem(Split::kHeldOut, i).prompt).second);
  }
  CHECK(mixed->size(Split::kHeldOut) >= 2 * part->size(Split::kHeldOut) - 1);
  CHECK(mixed->size(Split::kHeldOut) <= 2 * part->size(Split::kHeldOut) + 1);
  mixed->problem(Split::kTrain, mixed->size(Split::kTrain) - 1);
  CHECK_THROWS_AS(make_task("mixture", Json::parse(R"({"parts": [{"task": "mixture"}]})")), Error);
  CHECK_THROWS_AS(make_task("mixture", Json::parse(R"({"parts": []})")), Error);
}

TEST_CASE("scaffold: compiles as written, never overwrites") {
  const auto root = std::filesystem::temp_directory_path() / "zeroth_scaffold_test";
  std::filesystem::remove_all(root);
  const auto written = write_task_scaffold(root, "word_game", "cpp");
  CHECK(written.size() == 3);
  const std::string source = read_file(root / "tasks" / "word_game_task.cc");
  CHECK(source.find("WordGameTask::problem") != std::string::npos);
  CHECK(source.find("NAME") == std::string::npos);
  for (const std::string& path : written) {
    if (path.ends_with(".h")) continue;
    const std::string command =
        "c++ -std=c++20 -Wall -Wextra -Werror -fsyntax-only -I. -I" + root.string() + " " + path;
    CHECK_MESSAGE(std::system(command.c_str()) == 0, command);
  }
  CHECK_THROWS_AS(write_task_scaffold(root, "word_game", "cpp"), Error);
  CHECK_THROWS_AS(write_task_scaffold(root, "Word Game", "python"), Error);
  CHECK_THROWS_AS(write_task_scaffold(root, "../x", "so"), Error);
  std::filesystem::remove_all(root);
}

TEST_CASE("scaffold: the plug-ins work and pass their check as written") {
  const auto root = std::filesystem::temp_directory_path() / "zeroth_scaffold_plugins";
  std::filesystem::remove_all(root);
  REQUIRE(write_task_scaffold(root, "word_game", "python").size() == 1);
  REQUIRE(write_task_scaffold(root, "word_game", "so").size() == 2);
  CHECK(write_task_scaffold(root, "another", "so").size() == 1);  // the header is there
  const std::string library = (root / "word_game.so").string();
  const std::string compile = "cc -std=c99 -Wall -Werror -shared -fPIC -o " + library + " " +
                              (root / "word_game.c").string();
  REQUIRE(std::system(compile.c_str()) == 0);
  const auto python = make_task(
      "process", {{"command", {"python3", (root / "word_game.py").string()}}, {"workers", 1}});
  const auto so = make_task(
      "so", {{"path", library}, {"host", ZEROTH_BUILD_DIR "/test_plugin_host"}, {"workers", 1}});
  for (const Task* task : {python.get(), so.get()}) {
    CHECK(task->name() == "word_game");
    const TaskCheck check = check_task(*task, 60);
    CHECK_MESSAGE(check.passed(), check.to_text());
  }
  CHECK_THROWS_AS(write_task_scaffold(root, "x", "fortran"), Error);
  std::filesystem::remove_all(root);
}
