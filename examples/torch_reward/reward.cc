// A learned reward model as a Zeroth plug-in: any TorchScript module whose
// forward(ids int64 [1, bytes], mask float32 [1, bytes]) gives one number, larger where the response
// is better. LibTorch lives in this library alone, which Zeroth loads in worker processes.
#include <ATen/Parallel.h>
#include <torch/script.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "encode.h"
#include "plugin_abi.h"

namespace {

struct State {
  torch::jit::Module model;
  int64_t max_bytes = 2048;
  std::string error;  // valid until the next call, as plugin_abi.h asks
};

void* open_model(zeroth_text options) {
  try {
    const auto given = nlohmann::json::parse(options.data, options.data + options.size);
    for (const auto& [key, value] : given.items()) {
      if (key != "model" && key != "max_bytes") {
        throw std::invalid_argument("unknown option '" + key + "': it takes model and max_bytes");
      }
    }
    auto state = std::make_unique<State>();
    state->max_bytes = given.value("max_bytes", state->max_bytes);
    if (state->max_bytes < 1) throw std::invalid_argument("max_bytes has to be at least 1");
    // One thread: Zeroth starts as many workers as it wants cores used.
    at::set_num_threads(1);
    state->model = torch::jit::load(given.at("model").get<std::string>(), torch::kCPU);
    state->model.eval();
    return state.release();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "torch_reward: %s\n", e.what());
    return nullptr;
  }
}

void close_model(void* state) { delete static_cast<State*>(state); }

// One response at a time: its score then hangs on nothing else that is in the batch.
double score(State& state, std::string_view prompt, std::string_view completion) {
  const c10::InferenceMode no_gradients;
  const auto [ids, mask] = torch_reward::encode(prompt, completion, state.max_bytes);
  const auto reward = state.model.forward({ids, mask}).toTensor();
  if (reward.numel() != 1) throw std::runtime_error("the model has to give one number a response");
  const double value = reward.item<double>();
  if (!std::isfinite(value)) throw std::runtime_error("the model gave no finite number");
  return 1 / (1 + std::exp(-value));
}

int grade(void* opened, const zeroth_problem* problem, zeroth_text completion, zeroth_text, int,
          zeroth_result* out) {
  State& state = *static_cast<State*>(opened);
  try {
    out->score = score(state, {problem->prompt.data, problem->prompt.size},
                       {completion.data, completion.size});
  } catch (const std::exception& e) {
    state.error = std::string(e.what()).substr(0, 500);
    out->error = {state.error.data(), state.error.size()};
  }
  return 0;
}

zeroth_plugin make_plugin() {
  zeroth_plugin plugin{};
  plugin.abi = ZEROTH_PLUGIN_ABI;
  plugin.size = sizeof(zeroth_plugin);
  plugin.name = "torch_reward";
  plugin.open = open_model;
  plugin.close = close_model;
  plugin.grade = grade;
  return plugin;
}

}  // namespace

extern "C" const zeroth_plugin* zeroth_plugin_v1(void) {
  static const zeroth_plugin plugin = make_plugin();
  return &plugin;
}
