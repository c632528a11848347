// Environments behind every carrier.
#include "core/error.h"
#include "tasks/environment.h"
#include "tests/tasks/plugin_support.h"

using namespace zeroth;

namespace {

StepResult step_of(const Task& task, const std::vector<std::string>& replies) {
  const Problem problem = task.problem(Split::kTrain, 0);
  std::string text;
  std::vector<Turn> turns;
  for (const std::string& reply : replies) {
    text += reply;
    turns.push_back({0, 0, static_cast<int64_t>(text.size()), 0.5, "o" + reply});
  }
  turns.pop_back();
  const std::string_view all = text;
  const StepRequest request{&problem, turns, all, all.substr(all.size() - replies.back().size()),
                            FinishReason::kStop};
  return task.environment()->step({&request, 1})[0];
}

// What every carrier's plug-in of the tests answers.
void check_turns(const Task& task) {
  REQUIRE(task.environment() != nullptr);
  CHECK(task.environment()->max_turns({}) == 4);
  const StepResult first = step_of(task, {"more"});
  CHECK(first.fault == "");
  CHECK(first.observation == "turn 1");
  CHECK(!first.done);
  CHECK(first.reward == 0);
  CHECK(first.info == Json{{"steps", 1}});
  const StepResult third = step_of(task, {"a", "b", "more"});
  CHECK(third.observation == "turn 3 a/oa b/ob");
  CHECK(third.reward == 2);
  const StepResult last = step_of(task, {"more", "end"});
  CHECK(last.done);
  CHECK(last.reward == 1);
  CHECK(step_of(task, {"fail"}).fault == "reported");
  CHECK(step_of(task, {"nan"}).fault == "reported");
  CHECK(step_of(task, {"more"}).fault == "");
}

}  // namespace

TEST_CASE("environments over a shared library") {
  SoOptions so;
  so.path = ZEROTH_BUILD_DIR "/test_plugin.so";
  so.host = ZEROTH_BUILD_DIR "/test_plugin_host";
  so.workers = 1;
  const Folder folder;
  so.options = {{"log", (folder.path / "log").string()}};
  check_turns(*make_so_task(so));
  so.max_turns = 2;
  CHECK(make_so_task(so)->environment()->max_turns({}) == 2);
  so.path = ZEROTH_BUILD_DIR "/test_group_plugin.so";
  CHECK(make_so_task(so)->environment() == nullptr);
}

TEST_CASE("environments over a command: hangs, crashes and garbage cost their own sample") {
  ProcessOptions options;
  options.command = {"python3", "tests/tasks/plugins/turns.py"};
  options.workers = 2;
  options.timeout = 1;
  options.grace = 0.5;
  options.backoff = 0.01;
  options.retries = 1;
  options.give_up = 1000;
  const auto task = make_process_task(options);
  check_turns(*task);
  const Problem problem = task->problem(Split::kTrain, 0);
  const std::vector<std::string> replies = {"more",      "hang",    "crash", "more",
                                            "no reward", "no text", "list"};
  std::vector<StepRequest> requests;
  for (const std::string& reply : replies)
    requests.push_back({&problem, {}, reply, reply, FinishReason::kStop});
  const auto results = task->environment()->step(requests);
  const std::vector<std::string> faults = {"",        "timeout", "crashed", "",
                                           "garbage", "garbage", "garbage"};
  for (size_t i = 0; i < replies.size(); ++i) {
    CAPTURE(replies[i]);
    CHECK(results[i].fault == faults[i]);
  }
  CHECK(results[3].observation == "turn 1");
  CHECK(step_of(*task, {"message"}).observation == "as a message");
  CHECK(step_of(*task, {"silence"}).done);
  // Grading gets the turns.
  const std::string text = "more?end";
  const std::vector<Turn> turns = {{5, 8, 5, 1, "so"}, {11, 11, 8, 2, ""}};
  GradeRequest request{&problem, text, FinishReason::kStop};
  request.turns = turns;
  const auto verdicts = task->grade_batch({&request, 1});
  CHECK(verdicts[0][0].info["seen"] == "more?|so|1.0|end||2.0");
}

TEST_CASE("environments over HTTP") {
  const Server server;
  const auto task = make_http_task(http_options(server.base + "/turns", "zeroth"));
  check_turns(*task);
}

TEST_CASE("environments: observations in the shape of a chat template") {
  ResponseOptions options;
  CHECK(options.frame("user").lead.empty());
  options.prompt_template = "chatml";
  CHECK(options.frame("user").lead == "<|im_end|>\n<|im_start|>user\n");
  CHECK(options.frame("user").tail == "<|im_end|>\n<|im_start|>assistant\n");
  CHECK_THROWS_AS(options.frame("tool"), Error);
  options.prompt_template = "llama3";
  CHECK(options.frame("user").lead == "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n");
  options.prompt_template = own_chat_template(
      "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
      "{% if add_generation_prompt %}<assistant>{% endif %}",
      Json::object(), "2026-03-07");
  CHECK(options.frame("tool").lead == "</s><tool>");
  CHECK(options.frame("tool").tail == "</s><assistant>");

  ProcessOptions plugin;
  plugin.command = {"python3", "tests/tasks/plugins/turns.py"};
  plugin.workers = 1;
  plugin.prompt_template = "chatml";
  const auto task = make_process_task(plugin);
  const StepResult result = step_of(*task, {"more"});
  CHECK(result.lead == "<|im_end|>\n<|im_start|>user\n");
  CHECK(result.tail == "<|im_end|>\n<|im_start|>assistant\n");
  CHECK(step_of(*task, {"tool"}).fault == "garbage");  // chatml knows no such role here
}
