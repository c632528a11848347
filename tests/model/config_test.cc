#include "model/config.h"

#include <doctest/doctest.h>

#include "core/files.h"
#include "model/rope_table.h"
#include "tests/model/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

Json read(const std::string& family) { return read_json_file(fixture(family) / "config.json"); }

PolicyConfig parse(const Json& json) { return PolicyConfig::from_json(json, "config.json"); }

std::string refusal(const Json& json) {
  return error_of([&] { parse(json); });
}

}  // namespace

TEST_CASE("every family is recognised and keeps its features") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    CHECK(to_string(parse(read(family)).family) == family);
  }
  const PolicyConfig v3 = parse(read("deepseek_v3"));
  CHECK(v3.is_latent());
  CHECK(v3.sparse == std::vector<char>{0, 1});
  CHECK(v3.router.sigmoid);
  CHECK(v3.router.group_sum_top2);
  CHECK(v3.router.groups == 2);
  CHECK(v3.router.scale == 2.5f);
  CHECK(v3.selection_bias);
  CHECK(v3.extra_layers == 1);
  CHECK(v3.k_dim() == 32);
  const PolicyConfig v2 = parse(read("deepseek_v2"));
  CHECK(v2.latent.q_rank == 0);
  CHECK(v2.rope.interleaved);
  CHECK_FALSE(v2.router.normalize);
  const PolicyConfig olmoe = parse(read("olmoe"));
  CHECK(olmoe.qk_norm == QkNorm::kWholeWidth);
  CHECK(olmoe.expert_width == 32);
  const PolicyConfig qwen3 = parse(read("qwen3"));
  CHECK(qwen3.qk_norm == QkNorm::kPerHead);
  CHECK(qwen3.head_dim == 24);
  CHECK(parse(read("qwen2")).qkv_bias);
  CHECK_FALSE(parse(read("qwen2")).output_bias);
  CHECK(parse(read("mixtral")).router.normalize);
  const PolicyConfig qwen2_moe = parse(read("qwen2_moe"));
  CHECK(qwen2_moe.shared_width == 48);
  CHECK(qwen2_moe.shared_gate);
}

TEST_CASE("old and new key styles mean the same") {
  Json json = read("llama");
  const PolicyConfig with_new = parse(json);
  Json scaling = json["rope_parameters"];
  json["rope_theta"] = scaling["rope_theta"];
  scaling.erase("rope_theta");
  scaling["type"] = scaling["rope_type"];
  scaling.erase("rope_type");
  json["rope_scaling"] = scaling;
  json.erase("rope_parameters");
  json["torch_dtype"] = "bfloat16";
  json.erase("dtype");
  const PolicyConfig with_old = parse(json);
  CHECK(with_old.rope.type == RopeType::kLlama3);
  CHECK(rope_frequencies(with_old.rope, 16) == rope_frequencies(with_new.rope, 16));

  Json moe = read("qwen3_moe");
  moe["num_experts"] = moe["num_local_experts"];
  moe.erase("num_local_experts");
  moe["rope_scaling"] = nullptr;
  moe["rope_theta"] = moe["rope_parameters"]["rope_theta"];
  moe.erase("rope_parameters");
  CHECK(parse(moe).router.experts == 8);
  CHECK(parse(moe).rope.theta == 10000);
}

TEST_CASE("dense layers among sparse ones") {
  Json json = read("qwen3_moe");
  json["num_hidden_layers"] = 4;
  json["decoder_sparse_step"] = 2;
  CHECK(parse(json).sparse == std::vector<char>{0, 1, 0, 1});
  json["mlp_only_layers"] = {3};
  CHECK(parse(json).sparse == std::vector<char>{0, 1, 0, 0});
  CHECK(parse(json).moe_layers() == 1);
}

TEST_CASE("sliding windows by family") {
  Json json = read("mixtral");
  json["sliding_window"] = 8;
  CHECK(parse(json).window == std::vector<int>{8, 8});
  json = read("qwen2");
  json["sliding_window"] = 8;
  json["max_window_layers"] = 1;
  json.erase("layer_types");
  CHECK(parse(json).window == std::vector<int>{0, 0});  // use_sliding_window is false
  json["use_sliding_window"] = true;
  CHECK(parse(json).window == std::vector<int>{0, 8});
  json["sliding_window"] = nullptr;
  CHECK(parse(json).window == std::vector<int>{0, 0});  // none, while an absent one is 4096
  json.erase("sliding_window");
  CHECK(parse(json).window[1] == 4096);
  json["sliding_window"] = 8;
  json["layer_types"] = {"sliding_attention", "full_attention"};
  CHECK(parse(json).window == std::vector<int>{8, 0});
}

TEST_CASE("YaRN scales frequencies, cos and sin, and the softmax") {
  Json json = read("deepseek_v3");
  json["rope_parameters"] = {{"rope_type", "yarn"}, {"rope_theta", 10000.0},
                             {"factor", 40},        {"original_max_position_embeddings", 4096},
                             {"mscale", 1.0},       {"mscale_all_dim", 1.0},
                             {"beta_fast", 32},     {"beta_slow", 1}};
  const PolicyConfig c = parse(json);
  CHECK(c.rope.cos_sin_scale == 1.0);
  const double mscale = 0.1 * std::log(40.0) + 1;
  CHECK(c.attention_scale() == doctest::Approx(mscale * mscale / std::sqrt(32.0)));
  const std::vector<float> f = rope_frequencies(c.rope, 64);
  // By hand for dim 64, base 10000, length 4096: the ramp runs from dimension 10 to 23.
  CHECK(f[0] == 1.0f);
  CHECK(f[10] == doctest::Approx(std::pow(10000.0, -20.0 / 64)));
  CHECK(f[23] == doctest::Approx(std::pow(10000.0, -46.0 / 64) / 40));
  CHECK(f[31] == doctest::Approx(std::pow(10000.0, -62.0 / 64) / 40));
  const double ramp = 5.0 / 13;
  CHECK(f[15] == doctest::Approx(std::pow(10000.0, -30.0 / 64) * ((1 - ramp) + ramp / 40)));
  json["rope_parameters"].erase("mscale");
  json["rope_parameters"].erase("mscale_all_dim");
  CHECK(parse(json).rope.cos_sin_scale == doctest::Approx(mscale));
}

TEST_CASE("YaRN as model cards add it: the context is what it reaches") {
  Json json = read("qwen2");
  json.erase("rope_parameters");
  json["rope_theta"] = 1e6;
  json["max_position_embeddings"] = 32;
  json["rope_scaling"] = {
      {"type", "yarn"}, {"factor", 4.0}, {"original_max_position_embeddings", 32}};
  CHECK(parse(json).max_position == 128);
  REQUIRE(parse(json).notes.size() == 1);
  CHECK(contains(parse(json).notes[0], "128 positions"));
  json["max_position_embeddings"] = 128;  // already counted
  CHECK(parse(json).max_position == 128);
  CHECK(parse(json).notes.empty());
  json["max_position_embeddings"] = 1000;
  CHECK(parse(json).max_position == 1000);
  json["rope_scaling"]["attn_factor"] = 0.8;  // vLLM reads it, transformers does not
  CHECK(contains(parse(json).notes.at(0), "attn_factor"));
}

TEST_CASE("two sets of rope parameters are taken where they agree and refused where they do not") {
  Json json = read("qwen2");
  const double theta = json["rope_parameters"]["rope_theta"].get<double>();
  CHECK(parse(json).rope.theta == theta);
  // Written by transformers 5, and the model card's block added to it.
  json["rope_scaling"] = {{"rope_type", "yarn"}, {"factor", 4.0}};
  CHECK(contains(refusal(json), "rope_scaling"));
  CHECK(contains(refusal(json), "rope_parameters"));
  json["rope_scaling"] = {{"rope_type", "default"}};
  CHECK(refusal(json).empty());
  json["rope_scaling"] = {{"type", "default"}};
  CHECK(refusal(json).empty());
  json["rope_scaling"] = nullptr;
  CHECK(refusal(json).empty());
  json["rope_scaling"] = Json::object();
  CHECK(refusal(json).empty());
  json["rope_scaling"] = json["rope_parameters"];
  CHECK(parse(json).rope.theta == theta);
  json["rope_theta"] = theta;
  CHECK(refusal(json).empty());
  json["rope_theta"] = theta * 2;
  CHECK(contains(refusal(json), "rope_theta"));
  json.erase("rope_theta");
  // One set for each kind of layer, as Gemma and ModernBERT have it.
  json["rope_scaling"] = nullptr;
  json["rope_parameters"] = {
      {"full_attention", {{"rope_type", "default"}, {"rope_theta", 1e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}};
  CHECK(contains(refusal(json), "full_attention"));
  json["rope_parameters"] = {{"type", nullptr}, {"factor", 2.0}, {"rope_theta", 1e4}};
  CHECK(contains(refusal(json), "type"));
}

TEST_CASE("kinds of layers: what is not read is refused, a window needs its size") {
  Json json = read("qwen3");
  json["layer_types"] = {"full_attention", "full_attention"};
  CHECK(refusal(json).empty());
  for (const char* kind : {"linear_attention", "chunked_attention", "mamba"}) {
    json["layer_types"] = {"full_attention", kind};
    CHECK(contains(refusal(json), kind));
  }
  json["layer_types"] = {"sliding_attention", "full_attention"};
  json["use_sliding_window"] = false;
  CHECK(contains(refusal(json), "sliding_attention"));
  json["use_sliding_window"] = true;
  json["sliding_window"] = 8;
  CHECK(parse(json).window == std::vector<int>{8, 0});
  json["layer_types"] = {"full_attention"};
  CHECK(contains(refusal(json), "layer_types"));
  Json llama = read("llama");
  llama["layer_types"] = {"full_attention", "linear_attention"};
  CHECK(contains(refusal(llama), "linear_attention"));
}

TEST_CASE("Mistral is Llama with a window") {
  Json json = read("llama");
  json["architectures"] = {"MistralForCausalLM"};
  json["model_type"] = "mistral";
  json["sliding_window"] = 16;
  const PolicyConfig c = parse(json);
  CHECK(c.family == Family::kMistral);
  CHECK(c.window == std::vector<int>{16, 16});
  CHECK_FALSE(c.qkv_bias);
  CHECK(count_parameters(c).total == count_parameters(parse(read("llama"))).total);
  json["sliding_window"] = nullptr;
  CHECK(parse(json).window == std::vector<int>{0, 0});
  json.erase("sliding_window");
  CHECK(parse(json).window == std::vector<int>{4096, 4096});
  CHECK(parse(json).notes.empty());
  // With layer_types it is a Ministral.
  json["sliding_window"] = 16;
  json["layer_types"] = {"full_attention", "sliding_attention"};
  CHECK(parse(json).window == std::vector<int>{0, 16});
  CHECK(parse(json).notes.empty());
  json["architectures"] = {"MinistralForCausalLM"};
  json["model_type"] = "ministral";
  CHECK(parse(json).family == Family::kMistral);
  CHECK(parse(json).window == std::vector<int>{0, 16});
  CHECK(parse(json).notes.empty());
  json.erase("layer_types");
  CHECK(parse(json).window == std::vector<int>{16, 16});
  json["num_attention_heads"] = 32;
  json.erase("num_key_value_heads");
  CHECK(parse(json).kv_heads == 8);
  // Other classes do not read them.
  Json mixtral = read("mixtral");
  mixtral["sliding_window"] = 16;
  mixtral["layer_types"] = {"full_attention", "sliding_attention"};
  CHECK(parse(mixtral).window == std::vector<int>{16, 16});
  CHECK(contains(parse(mixtral).notes.at(0), "layer_types"));
}

TEST_CASE("Python's NaN and Infinity are numbers that no range admits") {
  const TempDir dir;
  const auto refusal_of = [&](const std::string& member) {
    std::string text = read("llama").dump();
    text.insert(1, member + ",");
    write_file_atomic(dir.path() / "config.json", text);
    return error_of([&] { PolicyConfig::from_file(dir.path() / "config.json"); });
  };
  CHECK(refusal_of(R"("time_step_limit": [0.0, Infinity], "x": -Infinity, "note": "NaN")").empty());
  CHECK(contains(refusal_of(R"("rope_theta": Infinity)"), "rope_theta"));
  CHECK(contains(refusal_of(R"("partial_rotary_factor": NaN)"), "partial_rotary_factor"));
  CHECK(contains(refusal_of(R"("x": Inf)"), "config.json"));
}

TEST_CASE("cos and sin agree with the C library to a unit of the last place of float") {
  for (int i = 0; i < 200000; ++i) {
    const double angle = i < 100000 ? i * 0.0137 : (i - 100000) * 9.7;
    float cosine = 0, sine = 0;
    cos_sin(angle, cosine, sine);
    REQUIRE(std::fabs(cosine - std::cos(angle)) <= 6e-8);
    REQUIRE(std::fabs(sine - std::sin(angle)) <= 6e-8);
  }
  float cosine = 0, sine = 0;
  cos_sin(0, cosine, sine);
  CHECK(cosine == 1.0f);
  CHECK(sine == 0.0f);
}

TEST_CASE("model_type decides what is built, whatever class is named beside it") {
  const Json good = read("qwen3_moe");
  CHECK(parse(good).notes.empty());
  for (const char* name :
       {"LlamaForCausalLM", "GPT2LMHeadModel", "Qwen3MoeForSequenceClassification"}) {
    Json json = good;
    json["architectures"] = {name};
    const PolicyConfig c = parse(json);
    CHECK(c.family == Family::kQwen3Moe);
    REQUIRE(c.notes.size() == 1);
    CHECK(contains(c.notes[0], name));
  }
  for (const Json& none : {Json(), Json::array()}) {
    Json json = good;
    json["architectures"] = none;
    CHECK(parse(json).family == Family::kQwen3Moe);
    CHECK(parse(json).notes.empty());
  }
  Json json = good;
  json.erase("model_type");
  CHECK(parse(json).family == Family::kQwen3Moe);
  json["architectures"] = {"GPT2LMHeadModel"};
  CHECK(contains(refusal(json), "GPT2LMHeadModel"));
}

TEST_CASE("what cannot be run is refused with its reason") {
  const Json good = read("qwen3_moe");
  const auto with = [&](const char* key, const Json& value) {
    Json json = good;
    json[key] = value;
    return refusal(json);
  };
  CHECK(refusal(good).empty());
  CHECK(contains(with("model_type", "qwen3_moe_x"), "model_type"));
  CHECK(contains(with("hidden_act", "gelu"), "gelu"));
  CHECK(contains(with("hidden_size", "64"), "hidden_size"));
  CHECK(contains(with("hidden_size", 0), "hidden_size"));
  CHECK(contains(with("hidden_size", 1e300), "hidden_size"));
  CHECK(contains(with("hidden_size", nullptr), "missing"));
  CHECK(contains(with("num_key_value_heads", 3), "num_key_value_heads"));
  CHECK(contains(with("num_experts_per_tok", 9), "num_experts_per_tok"));
  CHECK(contains(with("mlp_only_layers", {2}), "mlp_only_layers"));
  CHECK(contains(with("quantization_config", {{"quant_method", "gptq"}}), "gptq"));
  CHECK(contains(with("rope_parameters", {{"rope_type", "dynamic"}}), "factor"));
  CHECK(contains(with("rope_parameters", {{"rope_type", "su"}}), "su"));
  CHECK(contains(with("rope_parameters", {{"rope_type", "linear"}}), "factor"));
  CHECK(contains(with("rope_parameters", {{"partial_rotary_factor", 0.5}}), "partial_rotary"));
  CHECK(contains(refusal(Json::array()), "not a JSON object"));
  Json v3 = read("deepseek_v3");
  v3["n_group"] = 3;
  CHECK(contains(refusal(v3), "n_group"));
  v3["n_group"] = 8;
  CHECK(contains(refusal(v3), "num_experts_per_tok"));
  v3["topk_group"] = 4;
  CHECK(contains(refusal(v3), "n_group"));
  v3 = read("deepseek_v3");
  v3["scoring_func"] = "softmax";
  CHECK(contains(refusal(v3), "scoring_func"));
}

TEST_CASE("parameter counts") {
  const ParameterCounts dense = count_parameters(parse(read("llama")));
  CHECK(dense.total == 128 * 64 * 2 + 2 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 96 * 64 + 2 * 64) + 64);
  CHECK(dense.active == dense.total - 128 * 64);
  const ParameterCounts moe = count_parameters(parse(read("qwen3_moe")));
  CHECK(moe.total - moe.active == 128 * 64 + 2 * 6 * 3 * 32 * 64);
}

TEST_CASE("longrope: divisors of the length of pre-training, which ends the context") {
  Json json = read("phi3");
  json["original_max_position_embeddings"] = 128;
  json["rope_parameters"] = {{"type", "su"},
                             {"rope_theta", 10000.0},
                             {"short_factor", {1.0, 1.1, 1.3, 2.0}},
                             {"long_factor", {1.0, 1.5, 3.0, 7.5}}};
  const PolicyConfig c = parse(json);
  CHECK(c.rope.type == RopeType::kLongrope);
  CHECK(c.max_position == 128);
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "short_factor"));
  CHECK(c.rope.cos_sin_scale == doctest::Approx(std::sqrt(1 + std::log(4.0) / std::log(128.0))));
  const std::vector<float> f = rope_frequencies(c.rope, c.rope_dim());
  REQUIRE(f.size() == 4);
  CHECK(f[0] == 1.0f);
  CHECK(f[2] == doctest::Approx(std::pow(10000.0, -0.5) / 1.3));
  CHECK(f[3] == doctest::Approx(std::pow(10000.0, -0.75) / 2));
  json["rope_parameters"]["attention_factor"] = 1.25;
  CHECK(parse(json).rope.cos_sin_scale == 1.25);
  json["rope_parameters"]["short_factor"] = json["rope_parameters"]["long_factor"];
  CHECK(parse(json).max_position == 512);
  CHECK(parse(json).notes.empty());
  CHECK(rope_frequencies(parse(json).rope, 8)[3] ==
        doctest::Approx(std::pow(10000.0, -0.75) / 7.5));
}

TEST_CASE("the length of pre-training may stand outside, and a contradiction is refused") {
  Json json = read("llama");
  json["rope_parameters"] = {{"rope_type", "yarn"}, {"rope_theta", 1e4}, {"factor", 4.0}};
  json["original_max_position_embeddings"] = 64;
  CHECK(parse(json).rope.original_max_position == 64);
  json["rope_parameters"]["original_max_position_embeddings"] = 64;
  CHECK(parse(json).rope.original_max_position == 64);
  json["rope_parameters"]["original_max_position_embeddings"] = 128;
  CHECK(contains(refusal(json), "128"));
  json.erase("original_max_position_embeddings");
  CHECK(parse(json).rope.original_max_position == 128);
}

TEST_CASE("dynamic scaling is none up to the context, which ends where it would begin") {
  Json json = read("llama");
  json["rope_parameters"] = {{"rope_type", "dynamic"}, {"rope_theta", 1e4}, {"factor", 4.0}};
  const PolicyConfig c = parse(json);
  json["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  const PolicyConfig plain = parse(json);
  CHECK(rope_frequencies(c.rope, 16) == rope_frequencies(plain.rope, 16));
  CHECK(c.max_position == plain.max_position);
  REQUIRE(c.notes.size() == 1);
  CHECK(contains(c.notes[0], "the context ends there"));
}

TEST_CASE("frequencies of an odd part of a head, and of pairs that stand still") {
  Json json = read("glm4");
  json["rope_parameters"] = {{"rope_theta", 1e4}, {"partial_rotary_factor", 0.7}};  // 5 of 8
  PolicyConfig c = parse(json);
  CHECK(c.rope_dim() == 6);
  std::vector<float> f = rope_frequencies(c.rope, 6);
  CHECK(f[0] == 1.0f);
  CHECK(f[1] == doctest::Approx(std::pow(1e4, -2.0 / 5)));
  CHECK(f[2] == doctest::Approx(std::pow(1e4, -4.0 / 5)));
  json["rope_parameters"]["rope_type"] = "proportional";
  json["rope_parameters"]["factor"] = 2.0;
  c = parse(json);
  CHECK(c.rope_dim() == 8);
  f = rope_frequencies(c.rope, 8);
  CHECK(f[0] == 0.5f);
  CHECK(f[1] == doctest::Approx(std::pow(1e4, -2.0 / 8) / 2));
  CHECK(f[2] == 0.0f);
  CHECK(f[3] == 0.0f);
}

TEST_CASE("Mistral 3 is a Mistral whatever its layer_types say") {
  Json text = read("mistral");
  text["layer_types"] = {"full_attention", "sliding_attention"};
  CHECK(parse(text).window == std::vector<int>{0, 8});
  const Json whole = {{"architectures", {"Mistral3ForConditionalGeneration"}},
                      {"model_type", "mistral3"},
                      {"text_config", text}};
  CHECK(parse(whole).window == std::vector<int>{8, 8});
  CHECK(contains(parse(whole).notes.at(0), "layer_types"));
}

TEST_CASE("Gemma 3 caps logits, with images it does not") {
  Json text = read("gemma3_text");
  text["final_logit_softcapping"] = 30.0;
  CHECK(parse(text).logit_cap == 30);
  const Json whole = {{"architectures", {"Gemma3ForConditionalGeneration"}},
                      {"model_type", "gemma3"},
                      {"text_config", text}};
  CHECK(parse(whole).logit_cap == 0);
  CHECK(contains(parse(whole).notes.at(0), "final_logit_softcapping"));
}

TEST_CASE("what absent keys of DeepSeek-V3's router mean") {
  Json json = read("deepseek_v3");
  json["n_routed_experts"] = 64;
  for (const char* key : {"n_group", "topk_group", "n_shared_experts"}) json.erase(key);
  CHECK(parse(json).router.groups == 8);
  CHECK(parse(json).router.top_groups == 4);
  CHECK(parse(json).shared_width == parse(json).expert_width);
  json["n_group"] = json["topk_group"] = json["n_shared_experts"] = nullptr;
  CHECK(parse(json).router.groups == 1);
  CHECK(parse(json).shared_width == 0);
  Json v2 = read("deepseek_v2");
  v2.erase("n_shared_experts");
  CHECK(parse(v2).shared_width == 2 * parse(v2).expert_width);
}

TEST_CASE("layers with a window have frequencies of their own") {
  Json json = read("gemma3_text");
  PolicyConfig c = parse(json);
  CHECK(c.rope.theta == 1e6);
  REQUIRE(c.local_rope);
  CHECK(c.local_rope->theta == 1e4);
  CHECK(c.window == std::vector<int>{8, 8, 0});
  json["rope_parameters"]["sliding_attention"]["rope_theta"] = 1e6;
  CHECK_FALSE(parse(json).local_rope);
  json.erase("rope_parameters");  // as files of 2025 have it
  json["rope_local_base_freq"] = 5000.0;
  json["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 8.0}};
  json.erase("layer_types");
  json["sliding_window_pattern"] = 2;
  c = parse(json);
  CHECK(c.rope.type == RopeType::kLinear);
  CHECK(c.rope.theta == 1e6);
  CHECK(c.local_rope->type == RopeType::kDefault);
  CHECK(c.local_rope->theta == 5000);
  CHECK(c.window == std::vector<int>{8, 0, 8});
  Json olmo = read("olmo3");
  CHECK_FALSE(parse(olmo).local_rope);
  olmo["rope_parameters"] = nullptr;
  olmo["rope_theta"] = 5e5;
  olmo["rope_scaling"] = {{"rope_type", "yarn"},
                          {"factor", 8.0},
                          {"original_max_position_embeddings", 64},
                          {"attention_factor", 1.2}};
  CHECK(parse(olmo).rope.type == RopeType::kYarn);
  CHECK(parse(olmo).local_rope->type == RopeType::kDefault);
  CHECK(parse(olmo).local_rope->theta == 5e5);
}

TEST_CASE("scores, logits and heads as their keys say") {
  Json json = read("gemma3_text");
  CHECK(parse(json).attention_scale() == doctest::Approx(1 / std::sqrt(10.0)));
  CHECK(parse(json).gate == kernels::Gate::kGelu);
  CHECK(parse(json).tied_embeddings);
  json["final_logit_softcapping"] = 30.0;
  CHECK(parse(json).logit_cap == 30);
  json["attn_logit_softcapping"] = 50.0;
  CHECK(contains(parse(json).notes.at(0), "attn_logit_softcapping"));
  Json glm = read("glm4");
  CHECK(parse(glm).rope_dim() == 4);
  CHECK(parse(glm).rope.interleaved);
  CHECK(parse(glm).qkv_bias);
  CHECK_FALSE(parse(glm).output_bias);
  glm["rope_parameters"].erase("partial_rotary_factor");
  CHECK(parse(glm).rope_dim() == 4);
  glm["partial_rotary_factor"] = 0.75;
  CHECK(parse(glm).rope_dim() == 6);
  Json smol = read("smollm3");
  CHECK(parse(smol).rotated == std::vector<char>{1, 0, 1, 0});
  smol["no_rope_layers"] = nullptr;
  smol.erase("no_rope_layer_interval");
  CHECK(parse(smol).rotated == std::vector<char>{1, 1, 1, 0});
  smol["use_sliding_window"] = true;
  smol["sliding_window"] = 4;
  smol["layer_types"] = nullptr;
  CHECK(parse(smol).window == std::vector<int>{0, 0, 0, 4});
  Json moe = read("glm4_moe");
  CHECK(parse(moe).sparse == std::vector<char>{0, 1});
  CHECK(parse(moe).router.normalize);
  CHECK(parse(moe).router.scale == 1);
  CHECK(parse(moe).qk_norm == QkNorm::kNone);
  moe["use_qk_norm"] = true;
  CHECK(parse(moe).qk_norm == QkNorm::kPerHead);
}
