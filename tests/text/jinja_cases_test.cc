// Templates with what transformers renders from them, recorded in tests/data/jinja/*.jsonl.
#include <doctest/doctest.h>

#include "core/json_lines.h"
#include "text/chat_template.h"

namespace zeroth {
namespace {

Conversation conversation_of(const Json& row) {
  Conversation out;
  out.messages = row["messages"];
  out.tools = row["tools"];
  out.documents = row["documents"];
  out.add_generation_prompt = row["add_generation_prompt"].get<bool>();
  out.continue_final_message = row["continue_final_message"].get<bool>();
  out.variables = row["kwargs"];
  return out;
}

// Returns whether the template was refused by the name of a construct that is not read here.
bool check_case(const Json& row) {
  const std::string id = row["id"].get<std::string>();
  CAPTURE(id);
  std::vector<jinja::GenerationSpan> spans;
  std::string text, kind = "none", message;
  try {
    const ChatTemplate chat(row["template"].get<std::string>(), row["special_tokens"],
                            jinja::parse_date(row["now"].get<std::string>(), "now"), "template");
    text = chat.render(conversation_of(row), &spans);
  } catch (const jinja::TemplateError& error) {
    kind = to_string(error.fault());
    message = error.reason();
  }
  if (kind == "unsupported") return true;
  if (row.contains("error")) {
    CHECK(kind == row["error"]["kind"].get<std::string>());
    if (kind == "raised") CHECK(message == row["error"]["message"].get<std::string>());
    return false;
  }
  CAPTURE(message);
  CHECK(kind == "none");
  CHECK(text == row["text"].get<std::string>());
  if (!row.contains("generation_spans")) return false;
  Json found = Json::array();
  for (const auto& span : spans) found.push_back({span.begin, span.end});
  CHECK(found == row["generation_spans"]);
  return false;
}

TEST_CASE("templates render what transformers renders") {
  int cases = 0, refused = 0;
  for_each_json_line("tests/data/jinja/cases.jsonl", [&](const Json& row, int64_t) {
    refused += check_case(row);
    ++cases;
  });
  CHECK(cases == 68);
  CHECK(refused == 0);
}

// Every operator, filter, test and method that is read, on the edges where engines differ.
TEST_CASE("expressions give what Jinja gives, or are refused by name") {
  int cases = 0, refused = 0;
  for_each_json_line("tests/data/jinja/expressions.jsonl", [&](const Json& row, int64_t) {
    refused += check_case(row);
    ++cases;
  });
  CHECK(cases == 339);
  CHECK(refused == 10);  // tags, filters, methods and an escape that are not read
}

}  // namespace
}  // namespace zeroth
