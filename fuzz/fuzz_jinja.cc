// The template interpreter: whatever the text, it renders or throws TemplateError, in bounded time,
// memory and stack.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "fuzz/cpu_limit.h"
#include "text/chat_template.h"

namespace {

const zeroth::Conversation& conversation() {
  static const zeroth::Conversation talk = [] {
    zeroth::Conversation out;
    out.messages = zeroth::Json::parse(R"([
      {"role": "system", "content": "s"}, {"role": "user", "content": "é <b> 1+1?"},
      {"role": "assistant", "content": "<think>\nx\n</think>\n2", "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"a": [1, 2.5]}}}]},
      {"role": "tool", "content": "{}", "tool_call_id": "c1"},
      {"role": "user", "content": [{"type": "text", "text": "t"}, {"type": "image"}]}])");
    out.tools = zeroth::Json::parse(
        R"([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}])");
    return out;
  }();
  return talk;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace zeroth;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const CpuLimit limit(8);
  try {
    const ChatTemplate chat(text, {{"bos_token", "<s>"}}, {2026, 3, 7, 9, 5, 4}, "fuzz");
    chat.render(conversation());
  } catch (const Error&) {
  }
  return 0;
}
