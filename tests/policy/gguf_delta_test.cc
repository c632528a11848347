#include "model/formats/gguf_delta.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>

#include "model/formats/gguf_model.h"
#include "model/formats/gguf_write.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

namespace fs = std::filesystem;

ModelValues written(const std::string& family, const fs::path& path) {
  ModelValues weights = load_values(fixture(family));
  write_gguf(path, weights.config, weights.parameters, nullptr, {});
  return weights;
}

std::vector<float> stored(const fs::path& path, const std::string& name) {
  const GgufFile file(path);
  const GgufTensor& tensor = file.contents().tensors.at("blk.1." + name);
  std::vector<float> out(static_cast<size_t>(tensor.count));
  file.read(tensor, 0, tensor.count, out.data());
  return out;
}

std::span<const float> here(const ModelValues& weights, const std::string& name) {
  return weights.parameters.view(weights.parameters.info("model.layers.1.linear_attn." + name));
}

// The named blocks of `block` rows in that order.
std::vector<float> rows(std::span<const float> values, int64_t columns, int64_t block,
                        const std::vector<int>& blocks) {
  std::vector<float> out;
  for (const int b : blocks) {
    const auto from = values.begin() + b * block * columns;
    out.insert(out.end(), from, from + block * columns);
  }
  return out;
}

// The file's text with a float of blk.1.ssm_a changed.
void write_decay(const fs::path& from, const fs::path& to, float decay) {
  std::string bytes = read_file(from);
  const GgufFile file(from);
  std::memcpy(bytes.data() + file.contents().tensors.at("blk.1.ssm_a").begin, &decay,
              sizeof(decay));
  write_file_atomic(to, bytes);
}

}  // namespace

TEST_SUITE("gguf delta") {
  // The fixtures have two key heads with two value heads each, all 8 wide.
  TEST_CASE("Qwen3.5: value heads stand as llama.cpp's converter puts them") {
    TempDir dir;
    const fs::path path = dir.path() / "m.gguf";
    const ModelValues m = written("qwen3_5_text", path);
    const int64_t width = m.config.width;
    const std::vector<int> channels = {0, 1, 2, 3, 4, 6, 5, 7}, heads = {0, 2, 1, 3};
    CHECK(stored(path, "attn_qkv.weight") ==
          rows(here(m, "in_proj_qkv.weight"), width, 8, channels));
    CHECK(stored(path, "ssm_conv1d.weight") == rows(here(m, "conv1d.weight"), 4, 8, channels));
    CHECK(stored(path, "attn_gate.weight") == rows(here(m, "in_proj_z.weight"), width, 8, heads));
    CHECK(stored(path, "ssm_alpha.weight") == rows(here(m, "in_proj_a.weight"), width, 1, heads));
    CHECK(stored(path, "ssm_beta.weight") == rows(here(m, "in_proj_b.weight"), width, 1, heads));
    CHECK(stored(path, "ssm_dt.bias") == rows(here(m, "dt_bias"), 1, 1, heads));
    CHECK(stored(path, "ssm_norm.weight") == rows(here(m, "norm.weight"), 1, 8, {0}));
    std::vector<float> out;
    for (int64_t r = 0; r < width; ++r) {
      const auto row = here(m, "out_proj.weight").subspan(static_cast<size_t>(r * 32), 32);
      const std::vector<float> moved = rows(row, 1, 8, heads);
      out.insert(out.end(), moved.begin(), moved.end());
    }
    CHECK(stored(path, "ssm_out.weight") == out);
    const std::vector<float> a_log = rows(here(m, "A_log"), 1, 1, heads);
    const std::vector<float> decays = stored(path, "ssm_a");
    for (size_t i = 0; i < 4; ++i) {
      CHECK(decays[i] == static_cast<float>(-std::exp(static_cast<double>(a_log[i]))));
    }
  }

  TEST_CASE("Qwen3-Next: projections apart, value heads in their order; one tensor in old files") {
    TempDir dir;
    const fs::path path = dir.path() / "m.gguf";
    const ModelValues m = written("qwen3_next", path);
    const int64_t width = m.config.width;
    // By key head: queries, keys, two value heads, two gates.
    const auto qkvz = here(m, "in_proj_qkvz.weight");
    CHECK(stored(path, "attn_qkv.weight") == rows(qkvz, width, 8, {0, 6, 1, 7, 2, 3, 8, 9}));
    CHECK(stored(path, "attn_gate.weight") == rows(qkvz, width, 8, {4, 5, 10, 11}));
    CHECK(stored(path, "ssm_ba.weight") == rows(here(m, "in_proj_ba.weight"), width, 8, {0}));
    const GgufDelta delta = gguf_delta(m.config, "model.layers.1.linear_attn.in_proj_qkvz.weight");
    CHECK(delta.together == "blk.1.ssm_in.weight");
    CHECK(delta.split == 64);
  }

  TEST_CASE("files of others hold no A_log: what gives their decays is taken") {
    TempDir dir;
    const fs::path path = dir.path() / "m.gguf", other = dir.path() / "other.gguf";
    const ModelValues m = written("qwen3_5_text", path);
    std::string bytes = read_file(path);
    const size_t key = bytes.find(kGgufALog);
    REQUIRE(key != std::string::npos);
    bytes[key] = 'Z';
    write_file_atomic(other, bytes);
    const ModelValues read = load_values(other);
    for (size_t i = 0; i < 4; ++i) {
      const float a = here(m, "A_log")[i], b = here(read, "A_log")[i];
      CHECK(std::abs(a - b) < 1e-6f);
      CHECK(gguf_decay(a) == gguf_decay(b));
    }
    // Decays that were changed since count, not what they were made of.
    write_decay(path, other, -0.75f);
    CHECK(here(load_values(other), "A_log")[0] == std::log(0.75f));
    write_decay(path, other, 0);
    CHECK(gguf_decay(here(load_values(other), "A_log")[0]) == 0);
    write_decay(path, other, 1);
    CHECK(contains(error_of([&] { load_values(other); }), "decays are negative"));
    write_decay(path, other, NAN);
    CHECK(contains(error_of([&] { load_values(other); }), "decays are negative"));
  }

  TEST_CASE("attention: by a step, or layer by layer; draft layers stand behind the others") {
    const PolicyConfig config =
        PolicyConfig::from_json(changed_config("qwen3_5_text", {}), "qwen3_5");
    GgufContents contents;
    contents.metadata = gguf_metadata(config);
    contents.tensors["token_embd.weight"].shape = {config.vocab_size, config.width};
    const auto recurrent = [&](const std::string& key, const GgufValue& value) {
      GgufContents changed = contents;
      changed.metadata["qwen35." + key] = value;
      return PolicyConfig::from_json(gguf_config(changed, {}), "gguf").recurrent;
    };
    CHECK(recurrent("full_attention_interval", uint64_t{3}) == std::vector<char>{1, 1, 0});
    CHECK(recurrent("full_attention_interval", uint64_t{2}) == std::vector<char>{1, 0, 1});
    CHECK(recurrent("attention.recurrent_layers", std::vector<double>{0, 1, 1}) ==
          std::vector<char>{0, 1, 1});
    CHECK(recurrent("nextn_predict_layers", uint64_t{1}) == std::vector<char>{1, 1});
    CHECK(
        contains(error_of([&] { recurrent("attention.recurrent_layers", std::vector<double>{0}); }),
                 "does not fit 3 layers"));
  }
}
