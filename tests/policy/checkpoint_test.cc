#include "model/formats/checkpoint.h"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>

#include "core/files.h"
#include "model/formats/safetensors.h"
#include "model/layout.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

// A checkpoint as a list that a test edits before it is written.
struct Tensors {
  std::vector<std::string> names;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<std::vector<float>> values;

  explicit Tensors(const Policy& policy) {
    for (const ParameterInfo& info : policy.parameters().infos()) {
      const auto view = policy.parameters().view(info);
      add(info.name, info.shape, {view.begin(), view.end()});
    }
  }
  void add(const std::string& name, std::vector<int64_t> shape, std::vector<float> data) {
    names.push_back(name);
    shapes.push_back(std::move(shape));
    values.push_back(std::move(data));
  }
  size_t index(const std::string& name) const {
    return std::find(names.begin(), names.end(), name) - names.begin();
  }
  std::vector<float> take(const std::string& name) {
    const size_t i = index(name);
    std::vector<float> out = std::move(values[i]);
    names.erase(names.begin() + i);
    shapes.erase(shapes.begin() + i);
    values.erase(values.begin() + i);
    return out;
  }
  void write(const std::filesystem::path& file) const {
    std::vector<TensorToWrite> out;
    for (size_t i = 0; i < names.size(); ++i) out.push_back({names[i], shapes[i], values[i]});
    write_safetensors(file, out);
  }
};

std::string load_error(const std::string& family, const std::function<void(Tensors&)>& edit) {
  const TempDir dir;
  const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
  Tensors tensors(*policy);
  edit(tensors);
  tensors.write(dir.path() / "model.safetensors");
  std::filesystem::copy(fixture(family) / "config.json", dir.path());
  return error_of([&] { Policy::load(dir.path()); });
}

bool same_weights(const Policy& a, const Policy& b) {
  return same_bits(a.parameters().values(), b.parameters().values());
}

}  // namespace

TEST_CASE("saving and loading keeps every bit, in one file and in shards") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
    const TempDir one, many;
    policy->save(one.path());
    CHECK(same_weights(*policy, *Policy::load(one.path())));
    CHECK(read_file(one.path() / "config.json").find("\"float32\"") != std::string::npos);
    policy->save(many.path(), {.shard_bytes = 50000});
    CHECK(std::filesystem::exists(many.path() / "model.safetensors.index.json"));
    CHECK_FALSE(std::filesystem::exists(many.path() / "model.safetensors"));
    CHECK(same_weights(*policy, *Policy::load(many.path())));
    // A single file that replaces shards must not be shadowed by their index.
    policy->save(many.path());
    CHECK(same_weights(*policy, *Policy::load(many.path())));
  }
}

TEST_CASE("bfloat16 files hold rounded weights") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("deepseek_v3"));
  const TempDir dir;
  policy->save(dir.path(), {.bfloat16 = true});
  const std::unique_ptr<Policy> back = Policy::load(dir.path());
  for (const ParameterInfo& info : policy->parameters().infos()) {
    const auto a = policy->parameters().view(info), b = back->parameters().view(info);
    for (size_t i = 0; i < a.size(); ++i) {
      REQUIRE(std::fabs(a[i] - b[i]) <= std::fabs(a[i]) / 256);
      if (!info.trainable) REQUIRE(a[i] == b[i]);
    }
  }
  CHECK(read_file(dir.path() / "config.json").find("\"bfloat16\"") != std::string::npos);
}

TEST_CASE("a source gives any rows of a parameter") {
  for (const std::string& family : families()) {
    CAPTURE(family);
    check_rows(*open_model(fixture(family)).source, load_values(fixture(family)).parameters);
  }
}

TEST_CASE("weights without masters compute the same bits") {
  // Matrices of several pieces, tied and not.
  for (const bool tied : {false, true}) {
    const TempDir dir;
    variant("large", "llama",
            {{"vocab_size", 5001},
             {"hidden_size", 96},
             {"intermediate_size", 2000},
             {"tie_word_embeddings", tied}})
        .policy->save(dir.path(), {.bfloat16 = tied});
    const std::vector<TokenId> tokens = {1, 5000, 31, 32, 4000, 7};
    const auto whole = Policy::load(dir.path());
    const WeightsPtr light = load_weights(dir.path());
    CHECK(same_bits(hidden_of(*whole, tokens), hidden_of(*light, tokens)));
    CHECK(light->sha256() == whole->weights()->sha256());
    std::vector<float> a(5001), b(5001);
    const std::vector<float> hidden = hidden_of(*whole, tokens);
    whole->weights()->logits(hidden.data(), 1, a.data());
    light->logits(hidden.data(), 1, b.data());
    CHECK(same_bits(a, b));
    whole->publish(1);  // from the flat buffer instead of the file
    CHECK(same_bits(hidden_of(*whole, tokens), hidden));
    CHECK(same_weights(*whole, *Policy::load(dir.path())));
  }
  for (const std::string& family : families()) {
    CAPTURE(family);
    const std::vector<TokenId> tokens = fixture_sequences(family)[0];
    CHECK(same_bits(hidden_of(*Policy::load(fixture(family)), tokens),
                    hidden_of(*load_weights(fixture(family)), tokens)));
  }
}

TEST_CASE("wrong tensors are refused by name") {
  const std::string up = "model.layers.1.mlp.experts.3.up_proj.weight";
  CHECK(load_error("qwen3_moe", [](Tensors&) {}).empty());
  CHECK(contains(load_error("qwen3_moe", [&](Tensors& t) { t.take(up); }), "lacks tensor '" + up));
  CHECK(contains(load_error("qwen3_moe", [](Tensors& t) { t.add("model.extra", {1}, {0}); }),
                 "unexpected tensor 'model.extra'"));
  CHECK(contains(load_error("qwen3_moe",
                            [&](Tensors& t) {
                              t.shapes[t.index(up)] = {64, 32};
                            }),
                 "'" + up + "' has shape [64, 32]"));
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const std::string text =
        load_error("qwen3_moe", [&](Tensors& t) { t.values[t.index(up)][5] = bad; });
    CHECK(contains(text, up));
    CHECK(contains(text, "not finite, at index 5"));
  }
  CHECK(contains(error_of([] { Policy::load("tests/data/nowhere"); }), "no model directory"));
  const TempDir empty;
  std::filesystem::copy(fixture("llama") / "config.json", empty.path());
  CHECK(contains(error_of([&] { Policy::load(empty.path()); }), "no model.safetensors"));
}

TEST_CASE("tensors that a model is known to do without are skipped and listed") {
  const TempDir dir;
  const std::unique_ptr<Policy> policy = Policy::load(fixture("deepseek_v3"));
  Tensors tensors(*policy);
  tensors.add("model.layers.2.eh_proj.weight", {2, 2}, {1, 2, 3, 4});
  tensors.add("model.layers.0.self_attn.rotary_emb.inv_freq", {1}, {1});
  tensors.write(dir.path() / "model.safetensors");
  std::filesystem::copy(fixture("deepseek_v3") / "config.json", dir.path());
  const PolicyConfig config = PolicyConfig::from_file(dir.path() / "config.json");
  const Checkpoint checkpoint(dir.path(), config);
  CHECK(checkpoint.report().skipped ==
        std::vector<std::string>{"model.layers.0.self_attn.rotary_emb.inv_freq",
                                 "model.layers.2.eh_proj.weight"});
  CHECK(same_weights(*policy, *Policy::load(dir.path())));
  // One layer further is nobody's.
  CHECK(contains(load_error("deepseek_v3",
                            [](Tensors& t) { t.add("model.layers.3.eh_proj.weight", {1}, {1}); }),
                 "unexpected"));
}

TEST_CASE("the text model of a multimodal checkpoint is read, everything else is listed") {
  struct Wrapper {
    const char *family, *type, *architecture, *prefix;
  };
  for (const Wrapper& wrapper :
       {Wrapper{"llama", "multi_modality", "MultiModalityCausalLM", "language_model."},
        Wrapper{"deepseek_v2", "deepseek_vl_v2", "DeepseekVLV2ForCausalLM", "language."}}) {
    CAPTURE(wrapper.type);
    const TempDir dir;
    const std::unique_ptr<Policy> policy = Policy::load(fixture(wrapper.family));
    Tensors tensors(*policy);
    for (std::string& name : tensors.names) name = wrapper.prefix + name;
    tensors.add("vision_model.patch.weight", {1}, {1});
    tensors.add("aligner.weight", {1}, {1});
    tensors.write(dir.path() / "model.safetensors");
    Json language = read_json_file(fixture(wrapper.family) / "config.json");
    language.erase("architectures");
    const Json config = {{"architectures", {wrapper.architecture}},
                         {"model_type", wrapper.type},
                         {"language_config", language}};
    write_file_atomic(dir.path() / "config.json", config.dump());
    const auto loaded = Policy::load(dir.path());
    CHECK(same_weights(*policy, *loaded));
    const Checkpoint checkpoint(dir.path(), loaded->config());
    CHECK(checkpoint.report().skipped ==
          std::vector<std::string>{"aligner.weight", "vision_model.patch.weight"});
    // What is saved is a text model of its own.
    const TempDir saved;
    loaded->save(saved.path());
    CHECK(same_weights(*policy, *Policy::load(saved.path())));
    tensors.take(std::string(wrapper.prefix) + "model.norm.weight");
    tensors.write(dir.path() / "model.safetensors");
    CHECK(contains(error_of([&] { Policy::load(dir.path()); }), "model.norm.weight"));
  }
  const Json bare = {{"architectures", {"MultiModalityCausalLM"}}};
  CHECK(contains(error_of([&] { PolicyConfig::from_json(bare, "c"); }), "language_config"));
}

namespace {

struct TextPart {
  const char *family, *text_type, *type, *architecture, *older, *tower;
};
constexpr TextPart kTextParts[] = {
    {"gemma3_text", "gemma3_text", "gemma3", "Gemma3ForConditionalGeneration", "language_model.",
     "vision_tower."},
    {"mistral", "mistral", "mistral3", "Mistral3ForConditionalGeneration", "language_model.",
     "vision_tower."},
    {"qwen2", "qwen2_5_vl_text", "qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", "", "visual."},
    {"qwen3", "qwen3_vl_text", "qwen3_vl", "Qwen3VLForConditionalGeneration", "", "visual."},
    {"qwen3_5_text", "qwen3_5_text", "qwen3_5", "Qwen3_5ForConditionalGeneration", "", "visual."},
    {"qwen3_5_moe_text", "qwen3_5_moe_text", "qwen3_5_moe", "Qwen3_5MoeForConditionalGeneration",
     "", "visual."}};

// The whole's config.json around the fixture's.
Json whole_config(const TextPart& part, bool flat) {
  Json text = read_json_file(fixture(part.family) / "config.json");
  text.erase("architectures");
  text["model_type"] = part.text_type;
  const bool tied = text["tie_word_embeddings"];
  if (std::string(part.type).starts_with("qwen")) {
    text["rope_parameters"]["mrope_section"] = {2, 1, 1};
    text["rope_parameters"]["rope_type"] = flat ? "mrope" : "default";
  }
  Json whole = {{"text_config", text}, {"tie_word_embeddings", tied}};
  if (flat) whole = text;
  whole["architectures"] = {part.architecture};
  whole["model_type"] = part.type;
  whole["vision_config"] = {{"hidden_size", 7}};
  return whole;
}

}  // namespace

TEST_CASE("text parts of conditional checkpoints, by older and newer names of tensors") {
  for (const TextPart& part : kTextParts) {
    CAPTURE(part.type);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(part.family));
    const std::vector<TokenId> tokens = fixture_sequences(part.family)[0];
    for (const bool older : {true, false}) {
      CAPTURE(older);
      const TempDir dir, saved;
      Tensors tensors(*policy);
      for (std::string& name : tensors.names) {
        const bool head = !name.starts_with("model.");
        if (older) name = part.older + name;
        if (!older && !head) name = "model.language_model." + name.substr(6);
      }
      const std::string tower = (older ? "" : "model.") + std::string(part.tower) + "a.weight";
      tensors.add(tower, {1}, {1});
      tensors.write(dir.path() / "model.safetensors");
      const bool flat = older && std::string(part.type) == "qwen2_5_vl";
      write_file_atomic(dir.path() / "config.json", whole_config(part, flat).dump());
      const auto loaded = Policy::load(dir.path());
      CHECK(same_weights(*policy, *loaded));
      CHECK(same_bits(hidden_of(*policy, tokens), hidden_of(*loaded, tokens)));
      const PolicyConfig config = PolicyConfig::from_file(dir.path() / "config.json");
      CHECK(Checkpoint(dir.path(), config).report().skipped == std::vector<std::string>{tower});
      loaded->save(saved.path());
      CHECK(same_bits(hidden_of(*policy, tokens), hidden_of(*Policy::load(saved.path()), tokens)));
    }
  }
}

TEST_CASE("text parts: what their config classes fill in, what is refused") {
  const auto parse = [](const Json& json) { return PolicyConfig::from_json(json, "c"); };
  Json gemma = {{"model_type", "gemma3"},
                {"architectures", {"Gemma3ForConditionalGeneration"}},
                {"text_config",
                 {{"hidden_size", 2560},
                  {"intermediate_size", 10240},
                  {"num_hidden_layers", 34},
                  {"rope_scaling", {{"factor", 8.0}, {"rope_type", "linear"}}},
                  {"sliding_window", 1024}}}};
  const PolicyConfig c = parse(gemma);
  CHECK(c.vocab_size == 262208);
  CHECK(c.heads == 8);
  CHECK(c.kv_heads == 4);
  CHECK(c.head_dim == 256);
  CHECK(c.tied_embeddings);
  CHECK(c.rope.factor == 8);
  CHECK(c.local_rope->theta == 1e4);
  CHECK(c.local_rope->type == RopeType::kDefault);
  CHECK(c.window[4] == 1024);
  CHECK(c.window[5] == 0);
  gemma["tie_word_embeddings"] = false;
  CHECK_FALSE(parse(gemma).tied_embeddings);
  gemma["text_config"]["model_type"] = "gemma2";
  CHECK(contains(error_of([&] { parse(gemma); }), "gemma2"));
  Json mistral = whole_config(kTextParts[1], false);
  mistral["text_config"]["model_type"] = "ministral3";
  CHECK(contains(error_of([&] { parse(mistral); }), "ministral3"));
  mistral.erase("text_config");
  CHECK(contains(error_of([&] { parse(mistral); }), "text_config"));
  Json qwen = whole_config(kTextParts[2], true);
  qwen["rope_parameters"].erase("rope_theta");
  CHECK(parse(qwen).rope.theta == 1e6);
  qwen = whole_config(kTextParts[3], false);
  qwen["text_config"]["rope_parameters"].erase("rope_theta");
  CHECK(parse(qwen).rope.theta == 5e5);
}

TEST_CASE("DeepSeek-VL2: plain heads, and biased sigmoid scores under V2's name") {
  const auto plain =
      variant("v2 without latents", "deepseek_v2",
              {{"use_mla", false}, {"kv_lora_rank", nullptr}, {"q_lora_rank", nullptr}});
  CHECK(!plain.policy->config().is_latent());
  CHECK(!plain.policy->config().rope.interleaved);
  CHECK(plain.policy->config().is_moe());
  CHECK(!hidden_of(*plain.policy, std::vector<TokenId>{1, 2, 3}).empty());
  const auto biased = variant("v2 biased", "deepseek_v2",
                              {{"topk_method", "noaux_tc"}, {"scoring_func", "sigmoid"}});
  CHECK(biased.policy->config().selection_bias);
  CHECK(biased.policy->config().router.sigmoid);
  CHECK(contains(
      error_of([] {
        variant("v2", "deepseek_v2", {{"topk_method", "noaux_tc"}, {"scoring_func", "softmax"}});
      }),
      "scoring_func"));
}

TEST_CASE("fused expert tensors are read") {
  for (const char* family : {"qwen3_moe", "mixtral"}) {
    CAPTURE(family);
    const std::unique_ptr<Policy> policy = Policy::load(fixture(family));
    const PolicyConfig& c = policy->config();
    const bool mixtral = c.family == Family::kMixtral;
    Tensors tensors(*policy);
    for (int l = 0; l < c.layers; ++l) {
      const std::string layer = "model.layers." + std::to_string(l);
      const std::string old_block = layer + (mixtral ? ".block_sparse_moe" : ".mlp");
      std::vector<float> gate_up, down;
      for (int e = 0; e < c.router.experts; ++e) {
        const std::string expert = old_block + ".experts." + std::to_string(e) + ".";
        for (const char* part : {mixtral ? "w1" : "gate_proj", mixtral ? "w3" : "up_proj"}) {
          const auto values = tensors.take(expert + part + ".weight");
          gate_up.insert(gate_up.end(), values.begin(), values.end());
        }
        const auto values = tensors.take(expert + (mixtral ? "w2" : "down_proj") + ".weight");
        down.insert(down.end(), values.begin(), values.end());
      }
      tensors.add(layer + ".mlp.experts.gate_up_proj",
                  {c.router.experts, 2 * c.expert_width, c.width}, gate_up);
      tensors.add(layer + ".mlp.experts.down_proj", {c.router.experts, c.width, c.expert_width},
                  down);
      if (mixtral) {
        const auto gate = tensors.take(old_block + ".gate.weight");
        tensors.add(layer + ".mlp.gate.weight", {c.router.experts, c.width}, gate);
      }
    }
    const TempDir dir;
    tensors.write(dir.path() / "model.safetensors");
    std::filesystem::copy(fixture(family) / "config.json", dir.path());
    CHECK(same_weights(*policy, *Policy::load(dir.path())));
  }
}

TEST_CASE("block-scaled float8 weights") {
  // A hand-made file: the q projection in float8 with blocks of 48, everything else in float32.
  const std::string name = "model.layers.0.self_attn.q_proj.weight";
  const std::unique_ptr<Policy> policy = Policy::load(fixture("llama"));
  const auto write = [&](const std::filesystem::path& dir, bool with_scale) {
    Json header = Json::object();
    std::string data;
    const auto add = [&](const std::string& tensor, const char* dtype,
                         const std::vector<int64_t>& shape, const void* bytes, size_t n) {
      header[tensor] = {
          {"dtype", dtype}, {"shape", shape}, {"data_offsets", {data.size(), data.size() + n}}};
      data.append(static_cast<const char*>(bytes), n);
    };
    for (const ParameterInfo& info : policy->parameters().infos()) {
      const auto view = policy->parameters().view(info);
      if (info.name != name) add(info.name, "F32", info.shape, view.data(), view.size_bytes());
    }
    std::string eight(64 * 64, '\0');
    for (size_t i = 0; i < eight.size(); ++i) eight[i] = static_cast<char>(0x30 + i % 16);
    const std::vector<float> scale = {1, 2, 3, 4};
    add(name, "F8_E4M3", {64, 64}, eight.data(), eight.size());
    if (with_scale) add(name + "_scale_inv", "F32", {2, 2}, scale.data(), 16);
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::string file(reinterpret_cast<const char*>(&length), 8);
    write_file_atomic(dir / "model.safetensors", file + text + data);
    Json config = read_json_file(fixture("llama") / "config.json");
    config["quantization_config"] = {
        {"quant_method", "fp8"}, {"fmt", "e4m3"}, {"weight_block_size", {48, 48}}};
    write_file_atomic(dir / "config.json", config.dump());
  };
  const TempDir dir;
  write(dir.path(), true);
  const std::unique_ptr<Policy> loaded = Policy::load(dir.path());
  const auto q = loaded->parameters().view(loaded->parameters().info(name));
  CHECK(q[0] == 0.5f);                   // 0x30 = 2^-1, scale 1
  CHECK(q[8] == 1.0f);                   // 0x38
  CHECK(q[48] == 2 * 0.5f);              // next block to the right
  CHECK(q[48 * 64] == 3 * 0.5f);         // next block below
  CHECK(q[63 * 64 + 63] == 4 * 1.875f);  // 0x3f
  check_rows(*open_model(dir.path()).source, loaded->parameters());
  const TempDir again;
  loaded->save(again.path());
  CHECK(same_weights(*loaded, *Policy::load(again.path())));
  const TempDir without;
  write(without.path(), false);
  CHECK(contains(error_of([&] { Policy::load(without.path()); }), name + "_scale_inv"));
}

TEST_CASE("an index that lies is refused") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen2"));
  const auto error_with = [&](const std::function<void(Json&)>& edit) {
    const TempDir dir;
    policy->save(dir.path(), {.shard_bytes = 100000});
    const std::filesystem::path index = dir.path() / "model.safetensors.index.json";
    Json json = read_json_file(index);
    edit(json);
    write_file_atomic(index, json.dump());
    return error_of([&] { Policy::load(dir.path()); });
  };
  CHECK(error_with([](Json&) {}).empty());
  CHECK(contains(error_with([](Json& j) { j.erase("weight_map"); }), "weight_map"));
  CHECK(contains(error_with([](Json& j) { j["weight_map"]["model.norm.weight"] = "../x"; }),
                 "no plain file name"));
  CHECK(contains(error_with([](Json& j) { j["weight_map"]["model.norm.weight"] = 3; }),
                 "no plain file name"));
  CHECK(contains(error_with([](Json& j) { j["weight_map"]["nobody"] = "gone.safetensors"; }),
                 "gone.safetensors"));
  CHECK(contains(
      error_with([](Json& j) { j["weight_map"]["nobody"] = j["weight_map"]["model.norm.weight"]; }),
      "'nobody' is not in"));
}

TEST_CASE("random weights are a function of config and seed") {
  const PolicyConfig config = PolicyConfig::from_file(fixture("deepseek_v3") / "config.json");
  const auto a = Policy::init(config, 1), b = Policy::init(config, 1), c = Policy::init(config, 2);
  CHECK(same_weights(*a, *b));
  CHECK_FALSE(same_weights(*a, *c));
  const Parameters& p = a->parameters();
  CHECK(p.view(p.info("model.layers.0.self_attn.kv_a_layernorm.weight"))[3] == 1.0f);
  CHECK(p.view(p.info("model.layers.1.mlp.gate.e_score_correction_bias"))[3] == 0.0f);
  double sum = 0, squares = 0;
  const auto embedding = p.view(p.info("model.embed_tokens.weight"));
  for (const float w : embedding) {
    sum += w;
    squares += double{w} * w;
  }
  CHECK(std::fabs(sum / embedding.size()) < 1e-3);
  CHECK(std::sqrt(squares / embedding.size()) == doctest::Approx(0.02).epsilon(0.05));
}

TEST_CASE("fused matrices are one run of the parameter buffer whatever their sizes") {
  Json json = read_json_file(fixture("qwen2") / "config.json");
  json["hidden_size"] = 36;
  json["num_attention_heads"] = 6;
  json["num_key_value_heads"] = 3;
  json["intermediate_size"] = 7;
  const Layout layout = make_layout(PolicyConfig::from_json(json, "config.json"));
  const Parameters parameters(layout.infos);
  const auto end_of = [&](const std::string& name) {
    return parameters.info(name).offset + parameters.info(name).count;
  };
  const std::string mlp = "model.layers.1.mlp.", attention = "model.layers.1.self_attn.";
  CHECK(parameters.info(mlp + "up_proj.weight").offset == end_of(mlp + "gate_proj.weight"));
  CHECK(layout.layers[1].mlp.gate_up.weight == parameters.info(mlp + "gate_proj.weight").offset);
  CHECK(parameters.info(attention + "v_proj.bias").offset == end_of(attention + "k_proj.bias"));
  CHECK(layout.layers[1].qkv.out == 72);
  for (const ParameterInfo& info : parameters.infos()) {
    if (!info.glued) CHECK(info.offset % 16 == 0);
  }
}

TEST_CASE("multi-token prediction of gated delta nets is skipped and listed") {
  const std::unique_ptr<Policy> policy = Policy::load(fixture("qwen3_next"));
  const TempDir dir;
  Tensors tensors(*policy);
  tensors.add("mtp.layers.0.self_attn.q_proj.weight", {2, 1}, {1, 2});
  tensors.write(dir.path() / "model.safetensors");
  std::filesystem::copy(fixture("qwen3_next") / "config.json", dir.path());
  CHECK(same_weights(*policy, *Policy::load(dir.path())));
  const PolicyConfig config = PolicyConfig::from_file(dir.path() / "config.json");
  CHECK(Checkpoint(dir.path(), config).report().skipped ==
        std::vector<std::string>{"mtp.layers.0.self_attn.q_proj.weight"});
  // Of another family it is a tensor that nobody knows.
  CHECK(contains(load_error("qwen3_moe", [](Tensors& t) { t.add("mtp.fc.weight", {1}, {0}); }),
                 "unexpected tensor 'mtp.fc.weight'"));
}
