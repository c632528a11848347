#include "model/formats/stacked_experts.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "core/files.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

// What a four-bit float of MXFP4 is: sign, two bits of exponent, one of mantissa.
float value_of_half(unsigned bits) {
  const unsigned exponent = bits >> 1 & 3, mantissa = bits & 1;
  const float size = exponent == 0 ? 0.5f * static_cast<float>(mantissa)
                                   : std::ldexp(1.0f + 0.5f * static_cast<float>(mantissa),
                                                static_cast<int>(exponent) - 1);
  return (bits & 8) != 0 ? -size : size;
}

}  // namespace

TEST_CASE("experts in MXFP4 blocks: every value, and what is not right about them") {
  const Json config = changed_config("gpt_oss", {{"hidden_size", 64}, {"intermediate_size", 32}});
  const std::unique_ptr<Policy> policy =
      Policy::init(PolicyConfig::from_json(config, "config.json"), 1);
  struct Tensor {
    std::string dtype;
    std::vector<int64_t> shape;
    std::string bytes;
  };
  std::map<std::string, Tensor> tensors;
  for (const ParameterInfo& info : policy->parameters().infos()) {
    const auto view = policy->parameters().view(info);
    if (info.role == Role::kExpert) continue;
    tensors[info.name] = {
        "F32", info.shape, {reinterpret_cast<const char*>(view.data()), view.size_bytes()}};
  }
  const auto bytes_of = [](int64_t n, unsigned seed, unsigned low, unsigned range) {
    std::string out(static_cast<size_t>(n), '\0');
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = static_cast<char>(low + (i * 2654435761u + seed * 97) % range);
    return out;
  };
  for (const int64_t l : {0, 1}) {
    const std::string block = "model.layers." + std::to_string(l) + ".mlp.experts.";
    const auto seed = static_cast<unsigned>(l);
    tensors[block + "gate_up_proj_blocks"] = {
        "U8", {4, 64, 2, 16}, bytes_of(4 * 64 * 2 * 16, seed, 0, 256)};
    tensors[block + "gate_up_proj_scales"] = {"U8", {4, 64, 2}, bytes_of(4 * 64 * 2, seed, 120, 9)};
    tensors[block + "down_proj_blocks"] = {
        "U8", {4, 64, 1, 16}, bytes_of(4 * 64 * 16, seed + 5, 0, 256)};
    tensors[block + "down_proj_scales"] = {"U8", {4, 64, 1}, bytes_of(4 * 64, seed, 118, 11)};
  }
  const auto write = [&](const std::filesystem::path& dir, const auto& of, bool quantized) {
    Json header = Json::object();
    std::string data;
    for (const auto& [name, t] : of) {
      header[name] = {{"dtype", t.dtype},
                      {"shape", t.shape},
                      {"data_offsets", {data.size(), data.size() + t.bytes.size()}}};
      data += t.bytes;
    }
    const std::string text = header.dump();
    const uint64_t length = text.size();
    std::string file(reinterpret_cast<const char*>(&length), 8);
    write_file_atomic(dir / "model.safetensors", file + text + data);
    Json with = config;
    if (quantized) with["quantization_config"] = {{"quant_method", "mxfp4"}};
    write_file_atomic(dir / "config.json", with.dump());
  };
  const TempDir dir;
  write(dir.path(), tensors, true);
  const std::unique_ptr<Policy> loaded = Policy::load(dir.path());
  const Parameters& p = loaded->parameters();
  const std::string block = "model.layers.1.mlp.experts.";
  const auto expected = [&](const std::string& name, int64_t row, int64_t k, int64_t across) {
    const auto byte = static_cast<unsigned char>(
        tensors[name + "_blocks"].bytes[static_cast<size_t>((row * across * 32 + k) / 2)]);
    const auto scale = static_cast<unsigned char>(
        tensors[name + "_scales"].bytes[static_cast<size_t>(row * across + k / 32)]);
    return std::ldexp(value_of_half(k % 2 == 0 ? byte & 15u : byte >> 4), scale - 127);
  };
  for (const int64_t e : {0, 3}) {
    const auto gate = p.view(p.info(block + std::to_string(e) + ".gate_proj.weight"));
    const auto up = p.view(p.info(block + std::to_string(e) + ".up_proj.weight"));
    const auto down = p.view(p.info(block + std::to_string(e) + ".down_proj.weight"));
    for (const int64_t r : {0, 7, 31}) {
      for (const int64_t k : {0, 1, 31, 32, 63}) {
        CHECK(gate[r * 64 + k] == expected(block + "gate_up_proj", e * 64 + 2 * r, k, 2));
        CHECK(up[r * 64 + k] == expected(block + "gate_up_proj", e * 64 + 2 * r + 1, k, 2));
        if (k < 32) {
          CHECK(down[r * 32 + k] == expected(block + "down_proj", e * 64 + r, k, 1));
        }
      }
    }
  }
  check_rows(*open_model(dir.path()).source, p);
  const TempDir again;
  loaded->save(again.path());
  CHECK(same_bits(p.values(), Policy::load(again.path())->parameters().values()));
  // Mistakes, each named.
  const auto refused = [&](bool quantized, const auto& edit) {
    auto changed = tensors;
    edit(changed);
    const TempDir bad;
    write(bad.path(), changed, quantized);
    return error_of([&] { Policy::load(bad.path()); });
  };
  CHECK(contains(refused(false, [](auto&) {}), "lacks tensor"));
  CHECK(contains(refused(true, [&](auto& t) { t.erase(block + "down_proj_scales"); }),
                 "down_proj_scales"));
  CHECK(contains(refused(true,
                         [&](auto& t) {
                           t[block + "down_proj_scales"].shape = {4, 32, 2};
                         }),
                 "has shape [4, 32, 2]"));
  CHECK(contains(refused(true, [&](auto& t) { t[block + "down_proj_blocks"].dtype = "I8"; }),
                 "must be U8"));
  CHECK(contains(refused(true, [&](auto& t) { t[block + "down_proj_scales"].bytes[3] = '\xff'; }),
                 "not finite"));
}
