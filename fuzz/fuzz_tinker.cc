// Bodies of the Tinker protocol: protocol buffers (odd first byte) and JSON (even), and what a
// loss makes of them.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "core/json_text.h"
#include "tinker/losses.h"
#include "tinker/messages.h"
#include "tinker/store.h"

using namespace zeroth;
using namespace zeroth::tinker;

namespace {

void learn(const LossRequest& request) {
  if (request.bad) return;
  PolicyConfig model;
  model.vocab_size = 1000;
  model.max_position = 4096;
  Loss loss(request, model);
  std::vector<float> losses;
  for (size_t i = 0; i < request.data.size(); ++i) {
    const std::vector<float> logprobs(request.data[i].tokens.size(), -1.0f);
    std::vector<float> gradient(logprobs.size());
    loss.add(i, logprobs.data(), losses, gradient.data());
    if (losses.size() != logprobs.size()) __builtin_trap();
  }
}

template <class F>
void guarded(const F& f) {
  try {
    f();
  } catch (const Refusal&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 1) {
    guarded([&] { learn(read_loss_request(text)); });
    return 0;
  }
  guarded([&] { parse_path(std::string(text)); });
  const auto json = try_parse_json(text, {16, 100'000});
  if (!json || !json->is_object()) return 0;
  guarded([&] { learn(read_loss_request(*json, false)); });
  guarded([&] { learn(read_loss_request(*json, true)); });
  guarded([&] { read_sample_request(*json, 100); });
  guarded([&] { read_lora(&*json); });
  return 0;
}
