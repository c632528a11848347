// Questions and solutions in the columns of public data sets.
#include "rewards/code/code_columns.h"
#include "tasks/builtin/code_task.h"

namespace zeroth {
namespace {

std::string text_field(const Json& row, std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (row.contains(name) && row[name].is_string() &&
        !row[name].get_ref<const std::string&>().empty())
      return row[name].get<std::string>();
  }
  return {};
}

std::string joined(const Json& messages) {
  std::string text;
  for (const Json& message : messages) {
    if (!message.is_object() || !message.contains("content") || !message["content"].is_string())
      return {};
    text += (text.empty() ? "" : "\n\n") + message["content"].get<std::string>();
  }
  return text;
}

// Asserts of MBPP that the prompt shows.
std::string shown_tests(const Json& row, int show_tests) {
  std::string text;
  if (!row.contains("test_list") || !row["test_list"].is_array()) return text;
  int shown = 0;
  for (const Json& test : row["test_list"]) {
    if (shown++ >= show_tests || !test.is_string()) break;
    text += (shown == 1 ? "\nThe program has to pass tests such as:\n" : "\n") +
            test.get<std::string>();
  }
  return text;
}

bool holds(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

CodeRowText read_code_row(const Json& row, std::string_view text, const CodeTests& tests,
                          const std::string& place, int show_tests, bool need_question) {
  CodeRowText out;
  PyValue value;
  RowCode code;
  if (parse_value(text, /*plain=*/true, value)) code = code_of_row(value);
  out.solution = code.reference;
  out.shape = {.entry = tests.entry,
               .prompt = code.given,
               .program = tests.kind == CodeTests::Kind::kPrograms,
               .language = tests.language};
  const Json prompt = row.value("prompt", Json());
  // BigCodeBench says in words what to write, HumanEval gives the head of the function.
  const std::string instruct = text_field(row, {"instruct_prompt"});
  if (!code.given.empty() && instruct.empty()) {
    out.question = "Complete this Python function:\n\n" + code.given;
    return out;
  }
  if (prompt.is_array()) {
    out.question = joined(prompt);
    out.messages = prompt;
  } else {
    out.question = text_field(
        row, {"instruct_prompt", "prompt", "text", "question", "problem", "question_content",
              "problem_statement", "problem_description", "description", "query", "instruction"});
  }
  if (out.question.empty()) {
    if (need_question)
      fail(place + ": no prompt, text, question or problem", "give the problem's text");
    return out;
  }
  if (!out.messages.is_null()) return out;
  const std::string starter = text_field(row, {"starter_code"});
  if (!starter.empty() && !holds(out.question, starter))
    out.question += "\n\nStart from this code:\n" + starter;
  out.question += shown_tests(row, show_tests);
  return out;
}

}  // namespace zeroth
