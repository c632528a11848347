#include "tasks/tools/tools_task.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "rewards/sandbox/sandbox.h"
#include "tests/tasks/plugin_support.h"

using namespace zeroth;

namespace {

StepResult step_of(const Task& task, const std::string& reply) {
  const Problem problem = task.problem(Split::kTrain, 0);
  const StepRequest request{&problem, {}, reply, reply, FinishReason::kStop};
  return task.environment()->step({&request, 1})[0];
}

// "done", or what the policy reads next.
std::string answer(const Task& task, const std::string& reply) {
  const StepResult result = step_of(task, reply);
  if (!result.fault.empty()) return result.fault + ": " + result.detail;
  return result.done ? "done" : result.observation;
}

}  // namespace

TEST_CASE("tools: a calculator between tags") {
  const auto task = make_task("tools:task=countdown,call_reward=0.25,max_turns=3");
  REQUIRE(task->environment() != nullptr);
  const Problem problem = task->problem(Split::kTrain, 0);
  CHECK(task->environment()->turn_stops(problem) == std::vector<std::string>{"</calculator>"});
  CHECK(task->environment()->max_turns(problem) == 3);
  CHECK(problem.prompt == make_task("countdown")->problem(Split::kTrain, 0).prompt);
  CHECK(answer(*task, "so <calculator>3*4</calculator>") == "<result>12</result>");
  CHECK(answer(*task, "<calculator> (1+2)/6 </calculator>") == "<result>1/2</result>");
  CHECK(answer(*task, "<calculator>9**9**9</calculator>").starts_with("<result>error: "));
  CHECK(answer(*task, "<calculator>1/0</calculator>").starts_with("<result>error: "));
  // A call ends the turn and is whole; the last one counts.
  CHECK(answer(*task, "3*4</calculator>") == "done");
  CHECK(answer(*task, "<calculator>3*4</calculator> is 13") == "done");
  CHECK(answer(*task, "<calculator>1<calculator>2+3</calculator>") == "<result>5</result>");
  CHECK(answer(*task, "") == "done");
  CHECK(step_of(*task, "<calculator>3*4</calculator>").reward == 0.25);
  CHECK(step_of(*task, "<calculator>3*</calculator>").reward == 0);
  CHECK(step_of(*task, "<calculator>3*</calculator>").info ==
        Json{{"tool_calls", 1}, {"tool_errors", 1}});
  CHECK(step_of(*task, "x").info == Json{{"tool_calls", 0}, {"tool_errors", 0}});
  const auto gold = task->gold_completion(problem);
  CHECK(task->grade(problem, gold, FinishReason::kStop)[0].reason == Reason::kCorrect);
}

TEST_CASE("tools: a calculator behind a sign") {
  const auto task = make_task("tools:task=countdown,calls=equals");
  CHECK(answer(*task, "try 3*4=") == "12");
  CHECK(answer(*task, "so 14: 2 + 3 * 4 =") == "14");
  CHECK(answer(*task, "(2+3)*4=") == "20");
  CHECK(answer(*task, "7-(9=") == "");   // no expression
  CHECK(answer(*task, "x =") == "");     // nothing to compute, and no error
  CHECK(answer(*task, "12=") == "");     // a number alone
  CHECK(answer(*task, "1/0+2=") == "");  // 0+2 is a part of it
  CHECK(answer(*task, "3*4=1") == "done");
  CHECK(answer(*task, "12 3+4=") == "7");  // two numbers side by side are none
  CHECK(answer(*task, "1.5+2=") == "");
}

TEST_CASE("tools: options that contradict each other, and a task inside a task") {
  CHECK_THROWS_AS(make_task("tools"), Error);
  CHECK_THROWS_AS(make_task("tools:task=nothing"), Error);
  CHECK_THROWS_AS(make_task("tools:task=countdown,tools=[]"), Error);
  CHECK_THROWS_AS(make_task("tools:task=countdown,tools=[\"browser\"]"), Error);
  CHECK_THROWS_AS(make_task("tools:task=countdown,tools=[\"python\"],calls=equals"), Error);
  CHECK_THROWS_AS(make_task("tools:task={\"name\":\"tools\",\"options\":{\"task\":\"parity\"}}"),
                  Error);
  CHECK(starts_plugin("tools", {{"task", "process:command=x"}}));
  CHECK(!starts_plugin("tools", {{"task", "countdown"}}));
  CHECK(!starts_plugin("tools", {{"task", 7}}));
  std::string why;
  CHECK(make_task_to_look("tools", {{"task", "so:path=x"}}, &why) == nullptr);
  CHECK(!why.empty());
  CHECK(make_task_to_look("tools", {{"task", 7}}, &why) == nullptr);
  const auto looked =
      make_task_to_look("tools", {{"task", "countdown"}, {"tools", {"python"}}}, &why);
  REQUIRE(looked != nullptr);
  CHECK(why.empty());
}

TEST_CASE("tools: a mixture asks each part's environment") {
  const auto task = make_task("mixture", Json::parse(R"({"parts": [
      {"task": "tools", "options": {"task": "countdown", "max_turns": 4}}, {"task": "parity"}]})"));
  REQUIRE(task->environment() != nullptr);
  const Environment& environment = *task->environment();
  std::vector<Problem> problems;
  for (int64_t i = 0; i < 2; ++i) problems.push_back(task->problem(Split::kTrain, i));
  CHECK(environment.max_turns(problems[0]) == 4);
  CHECK(environment.max_turns(problems[1]) == 1);
  CHECK(environment.turn_stops(problems[1]).empty());
  const std::string call = "<calculator>2+2</calculator>";
  const std::vector<StepRequest> requests = {{&problems[1], {}, call, call, FinishReason::kStop},
                                             {&problems[0], {}, call, call, FinishReason::kStop}};
  const auto results = environment.step(requests);
  CHECK(results[0].done);
  CHECK(results[1].observation == "<result>4</result>");
  CHECK(make_task("mixture", Json::parse(R"({"parts": [{"task": "parity"}]})"))->environment() ==
        nullptr);
}

TEST_CASE("tools: Python in the sandbox, whatever it runs") {
  if (!probe_sandbox().sufficient()) return;
  const auto task = make_task(
      R"(tools:task=countdown,tools=["calculator","python"],time_limit=1,max_output=200,workers=2)");
  const auto run = [&](const std::string& program) {
    return answer(*task, "<python>" + program + "</python>");
  };
  CHECK(run("print(3 * 4)") == "<result>12</result>");
  CHECK(run("\nfor i in range(3):\n  print(i)\n") == "<result>0\n1\n2</result>");
  CHECK(run("1 / 0") == "<result>error: ZeroDivisionError: division by zero</result>");
  CHECK(run("print(5)\nraise ValueError('no')") == "<result>5\nerror: ValueError: no</result>");
  CHECK(run("while True: pass") == "<result>error: no end within 1 s</result>");
  CHECK(run("x = []\nwhile True: x.append(bytes(1 << 22))").starts_with("<result>error: "));
  CHECK(run("import os\nos.kill(os.getpid(), 9)").starts_with("<result>error: killed"));
  CHECK(run("print(open('/etc/passwd').read())").starts_with("<result>error: FileNotFoundError"));
  CHECK(run("print('x' * 1000)") == "<result>" + std::string(200, 'x') + "</result>");
  CHECK(run("import sys; sys.stdout.buffer.write(b'\\xff')") == "<result>\xEF\xBF\xBD</result>");
  CHECK(run("import socket\nsocket.create_connection(('127.0.0.1', 22), 1)")
            .starts_with("<result>error: "));
  CHECK(answer(*task, "<calculator>1+1</calculator>") == "<result>2</result>");
}
