#include "model/formats/gguf_write.h"
#include "model/formats/gguf_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "core/rng.h"
#include "model/formats/checkpoint.h"
#include "model/formats/gguf_names.h"
#include "model/formats/gguf_word_rules.h"
#include "model/formats/safetensors.h"
#include "tests/policy/support.h"
#include "text/tokenizer_source.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

namespace fs = std::filesystem;

// Largest difference between the weights of two models of one family; of norms, between what they
// multiply by, which is what the file holds.
double weight_gap(const ModelValues& a, const ModelValues& b) {
  REQUIRE(a.parameters.infos().size() == b.parameters.infos().size());
  double gap = 0;
  for (const ParameterInfo& info : a.parameters.infos()) {
    const auto x = a.parameters.view(info);
    const auto y = b.parameters.view(b.parameters.info(info.name));
    REQUIRE(x.size() == y.size());
    const float shift = a.config.norm_plus_one && info.role == Role::kNorm ? 1 : 0;
    for (size_t i = 0; i < x.size(); ++i) {
      gap = std::max<double>(gap, std::abs((x[i] + shift) - (y[i] + shift)));
    }
  }
  return gap;
}

std::vector<float> quantized(GgmlType type, const std::vector<float>& values) {
  const GgmlBlock block = ggml_block(static_cast<uint32_t>(type), "test");
  std::vector<std::byte> bytes(values.size() / block.values * block.bytes);
  ggml_quantize(type, values.data(), static_cast<int64_t>(values.size()), bytes.data());
  std::vector<float> out(values.size());
  ggml_dequantize(type, bytes.data(), static_cast<int64_t>(out.size()), out.data());
  return out;
}

std::string refusal(const std::string& family, const Json& changes) {
  const PolicyConfig config = PolicyConfig::from_json(changed_config(family, changes), family);
  return error_of([&] { gguf_metadata(config); });
}

// The fixture in `dir`, with what of it llama.cpp has not changed as its cases.json says.
fs::path exportable(const std::string& family, const fs::path& dir) {
  const fs::path out = dir / family;
  fs::copy(fixture(family), out, fs::copy_options::recursive);
  const Json json = changed_config(family, cases(family, "for_gguf"));
  write_file_atomic(out / "config.json", json.dump());
  return out;
}

}  // namespace

TEST_SUITE("gguf write") {
  TEST_CASE("every family comes back bit for bit, and runs to the same bits") {
    TempDir dir;
    for (const std::string& family : gguf_families()) {
      CAPTURE(family);
      const fs::path model = exportable(family, dir.path());
      const ModelValues weights = load_values(model);
      const fs::path path = dir.path() / (family + ".gguf");
      write_gguf(path, weights.config, weights.parameters, nullptr, {});
      const ModelValues back = load_values(path);
      CHECK(weight_gap(weights, back) == 0);
      check_rows(*open_model(path).source, back.parameters);
      const auto tokens = fixture_sequences(family).front();
      CHECK(same_bits(hidden_of(*Policy::load(model), tokens),
                      hidden_of(*Policy::load(path), tokens)));
      CHECK(!fs::exists(path.string() + ".partial"));
    }
  }

  TEST_CASE("windows: by a step, or layer by layer") {
    const Json changes = {{"layer_types", {"sliding_attention", "sliding_attention"}},
                          {"num_hidden_layers", 2},
                          {"query_pre_attn_scalar", 12}};
    const PolicyConfig config =
        PolicyConfig::from_json(changed_config("gemma3_text", changes), "gemma3");
    GgufContents contents;
    contents.metadata = gguf_metadata(config);
    contents.tensors["token_embd.weight"].shape = {config.vocab_size, config.width};
    const auto windows = [&](const GgufValue& pattern) {
      contents.metadata["gemma3.attention.sliding_window_pattern"] = pattern;
      return PolicyConfig::from_json(gguf_config(contents, {}), "gguf").window;
    };
    CHECK(PolicyConfig::from_json(gguf_config(contents, {}), "gguf").window ==
          std::vector<int>{8, 8});
    CHECK(windows(uint64_t{2}) == std::vector<int>{8, 0});
    CHECK(windows(uint64_t{1}) == std::vector<int>{0, 0});
    CHECK(windows(std::vector<double>{0, 1}) == std::vector<int>{0, 8});
    CHECK(contains(error_of([&] { windows(std::vector<double>{0, 1, 1}); }), "no list of 2"));
  }

  TEST_CASE("narrow types round matrices and leave vectors and routers alone") {
    TempDir dir;
    const ModelValues weights = load_values(fixture("qwen3_moe"));
    for (const auto& [type, bound] : std::vector<std::pair<GgmlType, double>>{
             {GgmlType::kF16, 0x1p-11}, {GgmlType::kBf16, 0x1p-8}, {GgmlType::kQ8_0, 0x1p-7}}) {
      const fs::path path = dir.path() / "m.gguf";
      write_gguf(path, weights.config, weights.parameters, nullptr,
                 {.type = type, .word_rules = ""});
      const ModelValues back = load_values(path);
      const double gap = weight_gap(weights, back);
      CHECK(gap > 0);
      CHECK(gap < bound * 2);  // values are below 2
      for (const char* name : {"model.layers.0.mlp.gate.weight", "model.norm.weight",
                               "model.layers.1.self_attn.q_norm.weight"}) {
        CHECK(same_bits(weights.parameters.view(weights.parameters.info(name)),
                        back.parameters.view(back.parameters.info(name))));
      }
    }
    const std::string error = error_of([&] {
      write_gguf(dir.path() / "q.gguf", weights.config, weights.parameters, nullptr,
                 {.type = GgmlType::kQ4_0, .word_rules = ""});
    });
    CHECK(contains(error, "use F32, F16, BF16 or Q8_0"));
  }

  TEST_CASE("halves: every value stays, and what lies between rounds to nearest even") {
    for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      const auto above = static_cast<uint16_t>(bits + 1);
      float low, high;
      widen(DType::kF16, reinterpret_cast<const std::byte*>(&half), 1, &low);
      widen(DType::kF16, reinterpret_cast<const std::byte*>(&above), 1, &high);
      if (bits + 1 == 0x7c00) high = 65536;
      const float middle = low + (high - low) / 2;
      const float even = bits % 2 == 0 ? low : bits + 1 == 0x7c00 ? INFINITY : high;
      const std::vector<float> in = {low, -low, middle, std::nextafter(middle, low),
                                     std::nextafter(middle, high)};
      const std::vector<float> out = quantized(GgmlType::kF16, in);
      const float up = bits + 1 == 0x7c00 ? INFINITY : high;
      REQUIRE(out == std::vector<float>{low, -low, even, low, up});
    }
  }

  TEST_CASE("blocks of eight bits: as the reference rounds") {
    Rng rng(3, 0);
    std::vector<float> values(64);
    for (float& v : values) v = static_cast<float>(rng.normal());
    std::fill(values.begin() + 32, values.end(), 0.0f);
    const std::vector<float> out = quantized(GgmlType::kQ8_0, values);
    float largest = 0;
    for (const float v : values) largest = std::max(largest, std::abs(v));
    for (int i = 0; i < 32; ++i) CHECK(std::abs(out[i] - values[i]) < largest / 127 * 0.51f);
    for (int i = 32; i < 64; ++i) CHECK(out[i] == 0);
    CHECK(quantized(GgmlType::kQ8_0, out) == out);
  }

  TEST_CASE("what llama.cpp would compute otherwise is refused by name") {
    for (const std::string& family : gguf_families()) {
      CAPTURE(family);
      for (const Json& row : cases(family, "no_gguf")) {
        CAPTURE(row.dump());
        CHECK(contains(refusal(family, row["change"]), row["names"].get<std::string>()));
      }
      CHECK(refusal(family, cases(family, "for_gguf")).empty());
    }
  }

  TEST_CASE("families that are not written for llama.cpp are refused by name") {
    for (const std::string& family : families()) {
      if (in_gguf(family)) continue;
      CAPTURE(family);
      CHECK(contains(refusal(family, {}), family));
    }
  }

  TEST_CASE("metadata of files that cannot be run are refused by name") {
    for (const std::string& family : gguf_families()) {
      CAPTURE(family);
      const PolicyConfig config =
          PolicyConfig::from_json(changed_config(family, cases(family, "for_gguf")), family);
      GgufContents contents;
      contents.metadata = gguf_metadata(config);
      contents.tensors["token_embd.weight"].shape = {config.vocab_size, config.width};
      CHECK(!gguf_config(contents, gguf_rope_divisors(config)).empty());
      const std::string prefix = gguf_architecture_of(config.family).gguf + std::string(".");
      for (const Json& row : cases(family, "foreign_gguf")) {
        CAPTURE(row.dump());
        GgufContents foreign = contents;
        for (const auto& [key, value] : row["change"].items()) {
          GgufValue& to = foreign.metadata[prefix + key];
          value.is_string() ? to = value.get<std::string>() : to = value.get<uint64_t>();
        }
        CHECK(contains(error_of([&] { gguf_config(foreign, gguf_rope_divisors(config)); }),
                       row["names"].get<std::string>()));
      }
    }
  }

  TEST_CASE("tokenizers: the same ids and texts out of the file") {
    TempDir dir;
    const std::string text = "Hello  wörld 12345\n\n<think>1+2=3</think> 你好 don't  ";
    for (const std::string name :
         {"gpt2", "mistral-v1", "qwen2-reduced", "deepseek-reduced", "llama3-rules"}) {
      CAPTURE(name);
      const auto tokenizer = load_tokenizer("tests/data/tokenizers/" + name);
      Json json = read_json_file(fixture("llama") / "config.json");
      json["vocab_size"] = tokenizer->vocab_size() + 5;  // padded, as published models are
      const auto policy = Policy::init(PolicyConfig::from_json(json, name), 1);
      const fs::path path = dir.path() / "m.gguf";
      write_gguf(path, policy->config(), policy->parameters(), tokenizer.get(), {});
      const auto back = load_tokenizer(path);
      const auto ids = tokenizer->encode(text);
      CHECK(back->encode(text) == ids);
      CHECK(back->decode(ids) == tokenizer->decode(ids));
      CHECK(back->eos_ids() == tokenizer->eos_ids());
    }
    // Its vocabulary was cut, so that the library gives its added tokens the ids of words.
    const auto cut = load_tokenizer("tests/data/tokenizers/smollm2");
    CHECK(contains(cut->special().notes.at(0), "without holding it in its vocabulary"));
    std::map<std::string, GgufValue> metadata;
    CHECK(contains(error_of([&] { add_gguf_tokenizer(*cut, cut->vocab_size(), "", metadata); }),
                   "both have id"));
  }

  TEST_CASE(
      "word rules that llama.cpp has not: kept whole for Zeroth alone, or beside a near name") {
    TempDir dir;
    const auto tokenizer = load_tokenizer("models/base");
    const ModelValues weights = load_values("models/base");
    const fs::path path = dir.path() / "m.gguf";
    const auto write = [&](const std::string& rules, const Tokenizer* of) {
      return write_gguf(path, weights.config, weights.parameters, of,
                        {.type = GgmlType::kF32, .word_rules = rules});
    };
    const std::string text = "Numbers 3 15: target 24";
    CHECK(contains(write("", tokenizer.get()), "--word-rules"));
    CHECK(GgufFile(path).contents().text("tokenizer.ggml.model") == "none");
    CHECK(load_tokenizer(path)->encode(text) == tokenizer->encode(text));
    CHECK(load_tokenizer(path)->eos_ids() == tokenizer->eos_ids());
    CHECK(write("gpt-2", tokenizer.get()).empty());
    CHECK(load_tokenizer(path)->encode(text) == tokenizer->encode(text));
    CHECK(write("", nullptr).empty());
    CHECK(contains(error_of([&] { load_tokenizer(path); }), "none"));
    const auto large = load_tokenizer("tests/data/tokenizers/gpt2");
    CHECK(contains(error_of([&] { write("", large.get()); }), "the model has"));
  }
}
