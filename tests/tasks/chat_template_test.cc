#include "text/chat_template.h"

#include <doctest/doctest.h>

#include "core/error.h"
#include "tasks/options.h"

using namespace zeroth;

namespace {

const std::vector<ChatTurn> kTalk = {
    {"system", "Be brief."}, {"user", "1+1?"}, {"assistant", "2"}, {"user", "2+2?"}};

// The parts of published templates that they are recognised by.
constexpr const char* kSmolLm =
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ "
    "'<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
    "Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] "
    "+ "
    "'<|im_end|>' + '\n'}}{% endfor %}";
constexpr const char* kQwen =
    "{%- if tools %}{{- '<|im_start|>system\\n' }}{%- else %}{{- '<|im_start|>system\\n' + "
    "messages[0]['content'] + '<|im_end|>\\n' }}{{- '<|im_start|>system\\nYou are "
    "Qwen.<|im_end|>\\n' "
    "}}{%- endif %}";

std::string rendered(const char* jinja) {
  return ChatTemplate::recognise(jinja, "test").render(kTalk);
}

}  // namespace

TEST_CASE("chat templates: the texts that the five shapes give") {
  CHECK(ChatTemplate::named("chatml").render(kTalk) ==
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
        "<|im_start|>assistant\n2<|im_end|>\n<|im_start|>user\n2+2?<|im_end|>\n"
        "<|im_start|>assistant\n");
  CHECK(ChatTemplate::named("llama3").render(kTalk) ==
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n2<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n2+2?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n");
  CHECK(ChatTemplate::named("deepseek").render(kTalk) ==
        "<｜begin▁of▁sentence｜>Be brief.<｜User｜>1+1?<｜Assistant｜>2<｜end▁of▁sentence｜>"
        "<｜User｜>2+2?<｜Assistant｜>");
  CHECK(ChatTemplate::named("mistral").render(kTalk) ==
        "<s>[INST] Be brief.\n\n1+1? [/INST] 2</s>[INST] 2+2? [/INST]");
  CHECK(ChatTemplate::named("plain").render(kTalk) == "Be brief.\n\n1+1?\n\n2\n\n2+2?\n");
}

TEST_CASE("chat templates are recognised by what they write, with what belongs to them") {
  CHECK(ChatTemplate::recognise(kSmolLm, "t").question_text() ==
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
        "Face<|im_end|>\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n");
  CHECK(rendered(kSmolLm) == ChatTemplate::named("chatml").render(kTalk));
  CHECK(ChatTemplate::recognise(kQwen, "t")
            .question_text()
            .starts_with("<|im_start|>system\nYou are Qwen.<|im_end|>\n<|im_start|>user\n"));
  CHECK(
      rendered("{{ '<|start_header_id|>' + role }}Cutting Knowledge Date: December 2023\\n")
          .find("system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\nToday Date: 26 "
                "Jul 2024\n\nBe brief.<|eot_id|>") != std::string::npos);
  CHECK(rendered("'<｜User｜>' '<｜Assistant｜><think>\\n'").ends_with("<｜Assistant｜><think>\n"));
  CHECK(rendered("'<｜User｜>' '<｜Assistant｜>'").ends_with("<｜Assistant｜>"));
  CHECK(rendered("{{ 'User: ' + c }}{{ 'Assistant: ' }}{{ 'Assistant:' }}") ==
        "<｜begin▁of▁sentence｜>Be brief.\n\nUser: 1+1?\n\nAssistant: 2<｜end▁of▁sentence｜>"
        "User: 2+2?\n\nAssistant:");
  CHECK(rendered("'[INST] ' + c + '[/INST]'") ==
        "<s>[INST] Be brief.\n\n1+1?[/INST] 2</s>[INST] 2+2?[/INST]");
  CHECK(ChatTemplate::recognise(" \n", "t").name() == "plain");
  CHECK_THROWS_WITH_AS(rendered("{{ '<start_of_turn>' + role }}"),
                       doctest::Contains("<start_of_turn>"), Error);
  CHECK_THROWS_WITH_AS(rendered("{{ '<start_of_turn>' + role }}"),
                       doctest::Contains("template=NAME"), Error);
  CHECK_THROWS_WITH_AS(ChatTemplate::named("alpaca"), doctest::Contains("chatml"), Error);
  const std::vector<ChatTurn> tool = {{"tool", "x"}};
  CHECK_THROWS_WITH_AS(ChatTemplate::named("chatml").render(tool), doctest::Contains("\"tool\""),
                       Error);
}

TEST_CASE("chat templates in the options of a task") {
  ResponseOptions options;
  options.prompt_template = "llama3";
  CHECK(options.render("{question}?").find("{question}?<|eot_id|>") != std::string::npos);
  options.prompt_template = std::string("chat:") + kSmolLm;
  CHECK(options.render("2+2?").find("named SmolLM") != std::string::npos);
  const Json messages = {{{"role", "user"}, {"content", "a"}},
                         {{"role", "user"}, {"content", "b"}}};
  CHECK(options.render_messages(messages, "t").find("<|im_start|>user\nb<|im_end|>") !=
        std::string::npos);
  options.prompt_template = "chat";
  CHECK_THROWS_WITH_AS(options.render("q"), doctest::Contains("no checkpoint"), Error);
}
