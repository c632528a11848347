#include "text/chat_shape.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "tasks/options.h"

using namespace zeroth;

namespace {

const std::vector<ChatTurn> kTalk = {
    {"system", "Be brief."}, {"user", "1+1?"}, {"assistant", "2"}, {"user", "2+2?"}};

// A template with a default system text, a begin token, tools and a thinking switch.
constexpr const char* kOwn =
    "{{ bos_token }}{% if messages[0].role != 'system' %}<sys>Default.{% endif %}{% for t in tools "
    "or [] %}<tool>{{ t.name }}{% endfor %}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% "
    "endfor %}<assistant>{% if enable_thinking is not defined or enable_thinking %}<think>\n{% "
    "endif %}";

}  // namespace

TEST_CASE("chat templates: the texts that the named shapes give") {
  CHECK(ChatShape::named("chatml").render(kTalk) ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n");
  CHECK(ChatShape::named("llama3").render(kTalk) ==
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n2<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n");
  CHECK(ChatShape::named("deepseek").render(kTalk) ==
        "<｜begin▁of▁sentence｜>Be brief.<｜User｜>1+1?<｜Assistant｜>2<｜end▁of▁sentence｜>"
        "<｜User｜>2+2?<｜Assistant｜>");
  CHECK(ChatShape::named("mistral").render(kTalk) ==
        "<s>[INST] Be brief.\n\n1+1? [/INST] 2</s>[INST] 2+2? [/INST]");
  CHECK_THROWS_WITH_AS(ChatShape::named("alpaca"), doctest::Contains("chatml"), Error);
  const std::vector<ChatTurn> tool = {{"tool", "x"}};
  CHECK_THROWS_WITH_AS(ChatShape::named("chatml").render(tool), doctest::Contains("\"tool\""),
                       Error);
}

TEST_CASE("chat templates in the options of a task: the checkpoint's own is run") {
  ResponseOptions options;
  CHECK_FALSE(options.is_chat());
  options.prompt_template = "llama3";
  CHECK(options.is_chat());
  CHECK(options.render("{question}?").find("{question}?<|eot_id|>") != std::string::npos);

  options.prompt_template = own_chat_template(kOwn, {{"bos_token", "<s>"}}, "2026-03-07");
  CHECK(options.is_chat());
  CHECK(options.think_opened());
  CHECK(options.render("2+2?") == "<s><sys>Default.<user>2+2?<assistant><think>\n");
  options.system = "Be brief.";
  CHECK(options.render("2+2?") == "<s><system>Be brief.<user>2+2?<assistant><think>\n");
  options.system = "";
  options.chat_variables = {{"enable_thinking", false}};
  CHECK_FALSE(options.think_opened());
  const Json messages = {{{"role", "system"}, {"content", "s"}},
                         {{"role", "user"}, {"content", "a"}},
                         {{"role", "assistant"}, {"content", "b"}},
                         {{"role", "user"}, {"content", "c"}}};
  const Json tools = {{{"name", "add"}}};
  CHECK(options.render_messages(messages, tools, "t") ==
        "<s><tool>add<system>s<user>a<assistant>b<user>c<assistant>");

  options.prompt_template = "chat";
  CHECK_THROWS_WITH_AS(options.render("q"), doctest::Contains("no checkpoint"), Error);
}

TEST_CASE("chat templates: what cannot be put into a prompt is an error that names the row") {
  ResponseOptions options;
  options.prompt_template = "chatml";
  const Json messages = {{{"role", "user"}, {"content", "a"}}};
  const Json tools = {{{"name", "add"}}};
  CHECK_THROWS_WITH_AS(options.render_messages(messages, tools, "rows.jsonl:7"),
                       doctest::Contains("rows.jsonl:7: tools"), Error);
  options.prompt_template =
      own_chat_template("{{ raise_exception('no ' ~ messages[0].role) }}", {}, "2026-03-07");
  CHECK_THROWS_WITH_AS(options.render_messages(messages, Json(), "rows.jsonl:8"),
                       doctest::Contains("no user"), Error);
  CHECK_THROWS_WITH_AS(own_chat_template("{% for %}", {}, "2026-03-07"),
                       doctest::Contains("line 1"), Error);
  options.prompt_template = "plain";
  options.system = "Be brief.";
  CHECK_THROWS_WITH_AS(options.render("q"), doctest::Contains("no system turn"), Error);
}
