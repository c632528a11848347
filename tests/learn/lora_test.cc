#include <doctest/doctest.h>

#include <cmath>
#include <fstream>

#include "core/error.h"
#include "core/json.h"
#include "core/parallel.h"
#include "core/temporary_folder.h"
#include "learn/learner.h"
#include "learn/lora_cases.h"
#include "model/formats/peft.h"
#include "policy/adapted.h"
#include "policy/policy.h"

using namespace zeroth;

namespace {

namespace fs = std::filesystem;

const fs::path kFolder = "tests/data/lora";
// gpt_oss, gemma3 (with images): alphas by layer, interleaved experts, other names.
constexpr const char* kCases[] = {"llama", "qwen3_moe_fused", "qwen3_moe_per_expert", "gpt_oss",
                                  "gemma3"};

std::vector<std::vector<TokenId>> some_sequences() { return {{5, 9, 31, 2, 77, 4}, {8, 1, 1, 60}}; }

std::unique_ptr<LoraAdapter> adapter_of(const fs::path& folder, const Policy& policy) {
  return read_adapter(folder / "adapter", policy.config());
}

std::vector<float> values_of(const Parameters& parameters) {
  return {parameters.values().begin(), parameters.values().end()};
}

// Masters, or a base with the adapter merged.
std::vector<float> values_of(const Policy& policy) {
  std::vector<float> values(policy.parameters().values().size());
  policy.read_masters(0, values);
  return values;
}

}  // namespace

TEST_CASE("PEFT's adapters: log-probs, gradient norms and merged tensors") {
  for (const char* name : kCases) {
    CAPTURE(name);
    const LoraCaseResult r = evaluate_lora_case(kFolder / name);
    CHECK(r.base_logprobs <= 1e-4);
    CHECK(r.logprobs <= 1e-4);
    CHECK(r.gradient_norms <= 1e-4);
    CHECK(r.merged_norms <= 1e-5);
    CHECK(r.gradients > 0);
    CHECK(r.tensors > 0);
  }
}

TEST_CASE("an adapter that is read and written again is the same") {
  for (const char* name : kCases) {
    CAPTURE(name);
    const auto policy = Policy::load(kFolder / name / "base");
    const auto adapter = adapter_of(kFolder / name, *policy);
    const TemporaryFolder out;
    write_adapter(out.path(), *adapter, "../base");
    const auto again = read_adapter(out.path(), policy->config());
    REQUIRE(again->pairs().size() == adapter->pairs().size());
    CHECK(values_of(again->parameters()) == values_of(adapter->parameters()));
    for (size_t i = 0; i < adapter->pairs().size(); ++i)
      CHECK(again->pairs()[i].scale == doctest::Approx(adapter->pairs()[i].scale).epsilon(1e-15));
    const Json ours = read_json_file(out.path() / "adapter_config.json");
    const Json theirs = read_json_file(kFolder / name / "adapter" / "adapter_config.json");
    for (const char* key : {"r", "lora_alpha", "peft_type"}) CHECK(ours.at(key) == theirs.at(key));
    if (name == std::string("qwen3_moe_per_expert")) continue;
    for (const char* key : {"target_modules", "target_parameters"})
      CHECK(ours.at(key) == theirs.at(key));
  }
}

// With transformers 5 experts are parameters. PEFT makes one pair of gate and up, of both ranks,
// and takes the name of a matrix among target_modules for the experts' alone.
TEST_CASE(
    "single experts are named as PEFT makes parameters of them, and so is what has their names") {
  const auto policy = Policy::load("tests/data/parity/qwen2_moe");
  LoraConfig lora;
  lora.rank = 3;
  lora.alpha = 6;
  const auto adapter = make_adapter(lora, *policy, 1);
  const TemporaryFolder out;
  write_adapter(out.path(), *adapter, "../base");
  const Json config = read_json_file(out.path() / "adapter_config.json");
  CHECK(config.at("target_modules") == Json{"k_proj", "o_proj", "q_proj", "v_proj"});
  CHECK(config.at("target_parameters") == Json{"mlp.experts.down_proj", "mlp.experts.gate_up_proj",
                                               "mlp.shared_expert.down_proj.weight",
                                               "mlp.shared_expert.gate_proj.weight",
                                               "mlp.shared_expert.up_proj.weight"});
  CHECK(config.at("rank_pattern") == Json{{"model.layers.0.mlp.experts.gate_up_proj", 6},
                                          {"model.layers.1.mlp.experts.gate_up_proj", 6}});
  CHECK(config.at("alpha_pattern") == Json{{"model.layers.0.mlp.experts.gate_up_proj", 12.0},
                                           {"model.layers.1.mlp.experts.gate_up_proj", 12.0}});
  const auto again = read_adapter(out.path(), policy->config());
  REQUIRE(again->pairs().size() == adapter->pairs().size());
  for (const LoraPair& pair : again->pairs()) CHECK(pair.scale == 2);
}

TEST_CASE("a folder of an adapter, a base with an adapter and a merged policy hold the same bits") {
  for (const char* name : kCases) {
    CAPTURE(name);
    const fs::path folder = kFolder / name;
    const auto merged = Policy::load(folder / "base");
    const Learner learner(*merged, {}, {}, nullptr, adapter_of(folder, *merged));
    const auto by_name = Policy::load(folder / "adapter");
    CHECK(values_of(*by_name) == values_of(*merged));
    CHECK(load_adapted_weights(folder / "base", folder / "adapter")->sha256() ==
          merged->weights()->sha256());
    CHECK(load_weights(folder / "adapter")->sha256() == merged->weights()->sha256());
  }
}

TEST_CASE("gradients of A and B are the derivatives of the loss") {
  const auto policy = Policy::load(kFolder / "qwen3_moe_fused" / "base");
  Learner learner(*policy, {}, {}, nullptr, adapter_of(kFolder / "qwen3_moe_fused", *policy));
  LowRankUpdate& update = *learner.low_rank();
  const auto sequences = some_sequences();
  const auto loss = [&] {
    policy->publish(0);
    double sum = 0;
    for (const auto& of : score_sequences(*policy->weights(), sequences)) {
      for (const float lp : of) sum -= lp;
    }
    return sum;
  };
  learner.begin();
  differentiate_sequences(learner, sequences);
  const auto reduced = learner.reduce();
  const std::vector<float> gradient(reduced.begin(), reduced.end());
  const std::span<float> values = update.parameters().values();
  int checked = 0;
  for (const LoraPair& pair : update.adapter().pairs()) {
    for (const size_t at : {pair.a, pair.b}) {
      const ParameterInfo& info = update.parameters().infos()[at];
      float& x = values[info.offset + info.count / 3];
      const float before = x;
      constexpr float kStep = 4e-3f;
      x = before + kStep;
      const double up = loss();
      x = before - kStep;
      const double down = loss();
      x = before;
      const double slope = (up - down) / (2.0 * kStep);
      CHECK(gradient[info.offset + info.count / 3] ==
            doctest::Approx(slope).epsilon(0.02).scale(1));
      ++checked;
    }
  }
  CHECK(checked == 48);
}

TEST_CASE("updates by any number of threads have the same bits, and only targets change") {
  std::vector<std::vector<float>> ends;
  const int before = num_threads();
  for (const int threads : {1, 3}) {
    set_num_threads(threads);
    const auto policy = Policy::load(kFolder / "llama" / "base");
    const std::vector<float> base = values_of(*policy);
    OptimizerConfig optimizer;
    optimizer.lr = 1e-2;
    LoraConfig config;
    config.rank = 2;
    config.targets = {"q_proj", "down_proj"};
    Learner learner(*policy, optimizer, {}, nullptr, make_adapter(config, *policy, 3));
    CHECK(values_of(*policy) == base);  // B is zero
    for (int step = 0; step < 3; ++step) {
      learner.begin();
      differentiate_sequences(learner, some_sequences());
      learner.reduce();
      CHECK(learner.step(1e-2) > 0);
      learner.publish();
    }
    const std::vector<float> now = values_of(*policy);
    for (const ParameterInfo& info : policy->parameters().infos()) {
      const bool target = info.name.find("q_proj") != std::string::npos ||
                          info.name.find("down_proj") != std::string::npos;
      const bool same =
          std::equal(now.begin() + info.offset, now.begin() + info.offset + info.count,
                     base.begin() + info.offset);
      CAPTURE(info.name);
      CHECK(same == !target);
    }
    CHECK(learner.optimizer().first_moment().size() ==
          learner.low_rank()->parameters().values().size());
    ends.push_back(now);
  }
  set_num_threads(before);
  CHECK(ends[0] == ends[1]);
}

TEST_CASE("adapters that are no plain LoRA, or of another model, are refused by name") {
  const auto policy = Policy::load(kFolder / "llama" / "base");
  const auto refused = [&](const std::function<void(Json&)>& change, const char* word) {
    const TemporaryFolder out;
    write_adapter(out.path(), *adapter_of(kFolder / "llama", *policy), "../base");
    Json config = read_json_file(out.path() / "adapter_config.json");
    change(config);
    std::ofstream(out.path() / "adapter_config.json") << config.dump();
    CHECK_THROWS_WITH_AS(read_adapter(out.path(), policy->config()), doctest::Contains(word),
                         Error);
  };
  refused([](Json& c) { c["use_dora"] = true; }, "use_dora");
  refused([](Json& c) { c["use_something_new"] = true; }, "use_something_new");
  refused([](Json& c) { c["bias"] = "all"; }, "bias");
  for (const char* init : {"pissa", "pissa_niter_4", "olora", "corda", "lora_ga", "loftq"})
    refused([&](Json& c) { c["init_lora_weights"] = init; }, init);
  refused([](Json& c) { c["alpha_pattern"] = {{"q_proj", "much"}}; }, "alpha_pattern");
  refused([](Json& c) { c["alpha_pattern"] = {{"q_(proj", 2}}; }, "alpha_pattern");
  refused([](Json& c) { c["peft_type"] = "IA3"; }, "IA3");
  refused([](Json& c) { c["lora_alpha"] = "much"; }, "lora_alpha");
  refused([](Json& c) { c["modules_to_save"] = {"lm_head"}; }, "modules_to_save");
  CHECK_THROWS_WITH_AS(adapter_of(kFolder / "qwen3_moe_per_expert", *policy),
                       doctest::Contains("belongs to another model"), Error);
  LoraConfig config;
  config.rank = 2;
  config.targets = {"z_proj"};
  CHECK_THROWS_WITH_AS(make_adapter(config, *policy, 1), doctest::Contains("z_proj"), Error);
}
