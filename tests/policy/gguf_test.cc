#include "model/formats/gguf.h"

#include <doctest/doctest.h>

#include <cstring>

#include "core/config.h"
#include "core/rng.h"
#include "model/formats/gguf_model.h"
#include "policy/policy.h"
#include "tests/policy/gguf_writer.h"
#include "tests/text/tokenizer_support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::string from_hex(const std::string& hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    out += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return out;
}

std::string float_bytes(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}

GgufContents parse(const std::string& bytes) {
  return parse_gguf(std::as_bytes(std::span(bytes.data(), bytes.size())), "test.gguf");
}

std::string parse_error(const std::string& bytes) {
  return error_of([&] { parse(bytes); });
}

// A one-layer model of the given architecture without experts, every value its own.
struct TinyModel {
  GgufWriter writer;
  std::map<std::string, std::vector<float>> stored;

  void add(const std::string& name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    std::vector<float>& values = stored[name];
    for (int64_t i = 0; i < count; ++i) {
      values.push_back(static_cast<float>(stored.size() * 1000 + static_cast<size_t>(i)) / 1024);
    }
    writer.tensor(name, shape, 0, float_bytes(values));
  }

  explicit TinyModel(const std::string& architecture, bool with_down = true) {
    const std::string p = architecture + ".";
    writer.text("general.architecture", architecture);
    writer.number(p + "block_count", 1);
    writer.number(p + "embedding_length", 16);
    writer.number(p + "feed_forward_length", 24);
    writer.number(p + "attention.head_count", 2);
    writer.number(p + "attention.head_count_kv", 1);
    writer.number(p + "context_length", 64);
    writer.real(p + "attention.layer_norm_rms_epsilon", 1e-5f);
    writer.real(p + "rope.freq_base", 5000);
    add("token_embd.weight", {11, 16});
    add("output_norm.weight", {16});
    add("blk.0.attn_norm.weight", {16});
    add("blk.0.ffn_norm.weight", {16});
    add("blk.0.attn_q.weight", {16, 16});
    add("blk.0.attn_k.weight", {8, 16});
    add("blk.0.attn_v.weight", {8, 16});
    add("blk.0.attn_output.weight", {16, 16});
    add("blk.0.ffn_gate.weight", {24, 16});
    add("blk.0.ffn_up.weight", {24, 16});
    if (with_down) add("blk.0.ffn_down.weight", {16, 24});
    if (architecture == "qwen2") {
      add("blk.0.attn_q.bias", {16});
      add("blk.0.attn_k.bias", {8});
      add("blk.0.attn_v.bias", {8});
    }
  }
};

std::string model_error(const GgufWriter& writer) {
  TempFolder folder;
  folder.write("m.gguf", writer.bytes());
  return error_of([&] { Policy::load(folder.path / "m.gguf"); });
}

void check_error(const std::string& message, const std::string& part) {
  CAPTURE(message);
  CHECK(message.find(part) != std::string::npos);
}

}  // namespace

TEST_SUITE("gguf") {
  TEST_CASE("blocks of every type widen to the reference's values, bit for bit") {
    const Json rows = read_json_file("tests/data/gguf/blocks.json");
    CHECK(rows.size() == 10);
    for (const Json& row : rows) {
      const std::string data = from_hex(row["data"].get<std::string>());
      const auto expected = row["values"].get<std::vector<float>>();
      std::vector<float> got(expected.size());
      ggml_dequantize(static_cast<GgmlType>(row["number"].get<uint32_t>()),
                      reinterpret_cast<const std::byte*>(data.data()),
                      static_cast<int64_t>(got.size()), got.data());
      CAPTURE(row["type"].get<std::string>());
      CHECK(std::memcmp(got.data(), expected.data(), got.size() * sizeof(float)) == 0);
    }
  }

  TEST_CASE("config and weights of a model, and Llama's rows back in half-split order") {
    for (const std::string architecture : {"llama", "qwen2"}) {
      TempFolder folder;
      const TinyModel tiny(architecture);
      folder.write("m.gguf", tiny.writer.bytes());
      const auto policy = Policy::load(folder.path / "m.gguf");
      CHECK(policy->config().width == 16);
      CHECK(policy->config().kv_heads == 1);
      CHECK(policy->config().rope.theta == 5000);
      CHECK(policy->config().tied_embeddings);
      CHECK(policy->config().qkv_bias == (architecture == "qwen2"));
      const Parameters& parameters = policy->parameters();
      const auto values = [&](const std::string& name) {
        const auto view = parameters.view(parameters.info(name));
        return std::vector<float>(view.begin(), view.end());
      };
      CHECK(values("model.embed_tokens.weight") == tiny.stored.at("token_embd.weight"));
      CHECK(values("model.layers.0.mlp.down_proj.weight") ==
            tiny.stored.at("blk.0.ffn_down.weight"));
      CHECK(values("model.layers.0.self_attn.v_proj.weight") ==
            tiny.stored.at("blk.0.attn_v.weight"));
      const std::vector<float>& q = tiny.stored.at("blk.0.attn_q.weight");
      std::vector<float> expected = q;
      if (architecture == "llama") {
        // Heads of 8 rows: rows 0, 2, 4, 6 are the first half, 1, 3, 5, 7 the second.
        const int from[8] = {0, 2, 4, 6, 1, 3, 5, 7};
        for (int row = 0; row < 16; ++row) {
          const int source = row / 8 * 8 + from[row % 8];
          std::copy_n(q.begin() + source * 16, 16, expected.begin() + row * 16);
        }
      }
      CHECK(values("model.layers.0.self_attn.q_proj.weight") == expected);
    }
  }

  TEST_CASE("models that do not fit") {
    check_error(model_error(TinyModel("llama", false).writer), "mlp.down_proj.weight");
    TinyModel extra("llama");
    extra.add("blk.0.mystery.weight", {4});
    check_error(model_error(extra.writer), "unexpected tensor \"blk.0.mystery.weight\"");
    TinyModel shape("llama", false);
    shape.add("blk.0.ffn_down.weight", {24, 16});
    check_error(model_error(shape.writer), "\"blk.0.ffn_down.weight\" is [24, 16]");
    TinyModel infinite("llama", false);
    std::vector<float> values(16 * 24, 1.0f);
    values[7] = INFINITY;
    infinite.writer.tensor("blk.0.ffn_down.weight", {16, 24}, 0, float_bytes(values));
    check_error(model_error(infinite.writer), "value 7 of");
    GgufWriter unknown;
    unknown.text("general.architecture", "mamba");
    check_error(model_error(unknown), "\"mamba\", which is not implemented");
    TinyModel no_vocab("llama");
    TempFolder folder;
    folder.write("m.gguf", no_vocab.writer.bytes());
    check_error(error_of([&] { load_tokenizer(folder.path / "m.gguf"); }),
                "\"tokenizer.ggml.model\" is missing");
  }

  TEST_CASE("a file cut at any byte, and impossible numbers") {
    const std::string whole = TinyModel("llama").writer.bytes();
    CHECK(parse_error(whole) == "no error");
    for (size_t length = 0; length < whole.size(); length += length < 1500 ? 1 : 97) {
      CHECK(parse_error(whole.substr(0, length)).find("test.gguf") != std::string::npos);
    }
    Rng rng(6, 6);
    for (int round = 0; round < 2000; ++round) {
      std::string broken = whole.substr(0, 1500);
      for (int i = 0; i < 6; ++i) broken[8 + rng.below(1400)] = static_cast<char>(rng.below(256));
      parse_error(broken);  // an Error or contents, no crash
    }
    std::string magic = whole;
    magic[0] = 'X';
    check_error(parse_error(magic), "does not start with GGUF");
    std::string version = whole;
    version[4] = 1;
    check_error(parse_error(version), "GGUF version 1");
    GgufWriter type;
    type.tensor("w", {4}, 99, std::string(16, '\0'));
    check_error(parse_error(type.bytes()), "\"w\" has ggml type 99");
    GgufWriter ragged;
    ragged.tensor("w", {3, 16}, 2, std::string(54, '\0'));
    check_error(parse_error(ragged.bytes()), "rows of 16 values in blocks of 32");
    GgufWriter huge;
    huge.tensor("w", {int64_t{1} << 41, int64_t{1} << 41}, 0, "");
    check_error(parse_error(huge.bytes()), "dimension");
    GgufWriter twice;
    twice.number("a", 1);
    twice.number("a", 2);
    check_error(parse_error(twice.bytes()), "\"a\" is given twice");
  }

  TEST_CASE("embedded tokenizers: byte pairs and pieces") {
    GgufWriter pairs;
    pairs.text("tokenizer.ggml.model", "gpt2");
    pairs.text("tokenizer.ggml.pre", "smollm");
    pairs.texts("tokenizer.ggml.tokens", {"a", "b", "ab", "<end>", "1", "Ġ", "Ġab"});
    pairs.numbers("tokenizer.ggml.token_type", {1, 1, 1, 3, 1, 1, 1});
    pairs.texts("tokenizer.ggml.merges", {"a b", "Ġ ab"});
    pairs.number("tokenizer.ggml.eos_token_id", 3);
    TempFolder folder;
    folder.write("t.gguf", pairs.bytes());
    const auto tokenizer = load_tokenizer(folder.path / "t.gguf");
    CHECK(tokenizer->encode("ab ab<end>11") == std::vector<TokenId>{2, 6, 3, 4, 4});
    CHECK(tokenizer->eos_ids() == std::vector<TokenId>{3});
    CHECK(tokenizer->decode(tokenizer->encode("ab ab<end>11")) == "ab ab11");

    // What a checkpoint of the model gets is a tokenizer folder of its own.
    TempFolder saved;
    for (const auto& [name, content] : tokenizer->contents()) saved.write(name, content);
    const auto again = load_tokenizer(saved.path);
    CHECK(again->encode("ab ab<end>11") == tokenizer->encode("ab ab<end>11"));
    CHECK(again->eos_ids() == tokenizer->eos_ids());
    CHECK(again->contents() == tokenizer->contents());

    GgufWriter pieces;
    pieces.text("tokenizer.ggml.model", "llama");
    pieces.texts("tokenizer.ggml.tokens",
                 {"<unk>", "<s>", "</s>", "<0x41>", "\xe2\x96\x81", "a", "b", "ab",
                  "\xe2\x96\x81"
                  "ab"});
    pieces.numbers("tokenizer.ggml.token_type", {2, 3, 3, 6, 1, 1, 1, 1, 1});
    pieces.reals("tokenizer.ggml.scores", {0, 0, 0, 0, -9, -9, -9, -1, -2});
    pieces.number("tokenizer.ggml.eos_token_id", 2);
    pieces.number("tokenizer.ggml.bos_token_id", 1);
    folder.write("p.gguf", pieces.bytes());
    const auto llama = load_tokenizer(folder.path / "p.gguf");
    CHECK(llama->encode("ab abA", false) == std::vector<TokenId>{8, 8, 3});
    CHECK(llama->decode(llama->encode("ab abA")) == "ab abA");
    TempFolder model;
    for (const auto& [name, content] : llama->contents()) model.write(name, content);
    const auto reread = load_tokenizer(model.path);
    CHECK(reread->encode("ab abA", false) == std::vector<TokenId>{8, 8, 3});
    CHECK(reread->bos_id() == 1);
    CHECK(reread->eos_ids() == std::vector<TokenId>{2});

    GgufWriter unknown = pairs;
    unknown.text("tokenizer.ggml.model2", "");
    std::string bytes = unknown.bytes();
    bytes.replace(bytes.find("smollm"), 6, "smoxxm");
    folder.write("u.gguf", bytes);
    check_error(error_of([&] { load_tokenizer(folder.path / "u.gguf"); }), "\"smoxxm\"");
    GgufWriter beyond = pairs;
    beyond.number("tokenizer.ggml.bos_token_id", 99);
    folder.write("v.gguf", beyond.bytes());
    check_error(error_of([&] { load_tokenizer(folder.path / "v.gguf"); }), "beyond the vocabulary");
  }
}
