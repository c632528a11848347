#include "model/formats/frozen_base.h"

#include <doctest/doctest.h>

#include <cstring>

#include "core/rng.h"
#include "model/formats/gguf_model.h"
#include "model/formats/gguf_write.h"
#include "tests/policy/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

namespace fs = std::filesystem;

std::vector<float> values_of(const FrozenBase& base, const ParameterInfo& info, size_t i) {
  std::vector<float> out(static_cast<size_t>(info.count));
  base.read(i, 0, out);
  return out;
}

bool equal(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin());
}

bool same_bytes(const FrozenBase& a, const FrozenBase& b) {
  bool same = a.size() == b.size();
  for (size_t i = 0; same && i < a.size(); ++i) same = std::ranges::equal(a.bytes(i), b.bytes(i));
  return same;
}

ParameterInfo matrix_of(int64_t rows, int64_t columns) {
  ParameterInfo info;
  info.name = "m";
  info.shape = {rows, columns};
  place(info, 0);
  return info;
}

}  // namespace

TEST_SUITE("frozen base") {
  TEST_CASE("a base in Q8_0 has the values of a GGUF file in Q8_0, and takes them as they are") {
    TempDir dir;
    int compared = 0;
    for (const char* family : {"llama", "qwen3_moe", "olmo2", "qwen2"}) {
      CAPTURE(family);
      const ModelValues whole = load_values(fixture(family));
      const fs::path path = dir.path() / (std::string(family) + ".gguf");
      write_gguf(path, whole.config, whole.parameters, nullptr,
                 {.type = GgmlType::kQ8_0, .word_rules = ""});
      const ModelValues file = load_values(path);
      const auto& infos = whole.parameters.infos();
      const FrozenBase base(infos, BaseBits::kQ8_0, *open_model(fixture(family)).source);
      const FrozenBase again(infos, BaseBits::kQ8_0, *open_model(path).source);
      for (size_t i = 0; i < infos.size(); ++i) {
        CAPTURE(infos[i].name);
        const auto stored = file.parameters.view(file.parameters.info(infos[i].name));
        CHECK(equal(values_of(again, infos[i], i), stored));
        if (base.type(i) != GgmlType::kQ8_0) continue;
        CHECK(equal(values_of(base, infos[i], i), stored));
        ++compared;
      }
    }
    CHECK(compared > 20);
  }

  TEST_CASE("rounding again changes no byte, and a second look reads the same, in parts too") {
    for (const BaseBits bits : {BaseBits::kFloat32, BaseBits::kBfloat16, BaseBits::kQ8_0}) {
      const ModelValues whole = load_values(fixture("qwen3_moe"));
      const auto& infos = whole.parameters.infos();
      const FrozenBase base(infos, bits, *open_model(fixture("qwen3_moe")).source);
      CHECK(same_bytes(base, FrozenBase(infos, bits, base)));
      const OpenModel on_the_way = rounded(open_model(fixture("qwen3_moe")), bits);
      for (size_t i = 0; i < infos.size(); ++i) {
        const std::vector<float> all = values_of(base, infos[i], i);
        // Values between those that the bits have are rounded, and others are as they were.
        CHECK((base.type(i) == GgmlType::kF32) == equal(all, whole.parameters.view(infos[i])));
        std::vector<float> read(all.size());
        on_the_way.source->read(i, 0, read);
        CHECK(equal(read, all));
        for (const int64_t first : {0, 1, 31, 32, 45}) {
          if (first >= infos[i].count) continue;
          std::vector<float> part(
              static_cast<size_t>(std::min<int64_t>(70, infos[i].count - first)));
          base.read(i, first, part);
          CHECK(equal(part, std::span(all).subspan(first, part.size())));
        }
        const bool narrow = infos[i].shape.size() == 2 && infos[i].role != Role::kRouter;
        CHECK((base.type(i) != GgmlType::kF32) ==
              (narrow && bits != BaseBits::kFloat32 &&
               (bits == BaseBits::kBfloat16 || infos[i].shape[1] % 32 == 0)));
      }
    }
  }

  TEST_CASE("blocks of Q8_0 whose largest quant is another than 127 keep their values") {
    Rng rng(7, 0);
    const std::vector<ParameterInfo> infos = {matrix_of(200, 32)};
    std::vector<float> values(infos[0].count);
    for (int row = 0; row < 200; ++row) {
      std::array<std::byte, 34> block;
      const float scale = static_cast<float>(0.001 + rng.uniform());
      ggml_quantize(GgmlType::kF16, &scale, 1, block.data());
      for (int j = 0; j < 32; ++j)
        block[2 + j] = static_cast<std::byte>(static_cast<int8_t>(rng.uniform() * 2 * row - row));
      if (row == 199) block[9] = static_cast<std::byte>(-128);
      for (int j = 2; row < 199 && j < 34; ++j) {
        if (static_cast<int8_t>(block[j]) < -127) block[j] = std::byte{1};
      }
      ggml_dequantize(GgmlType::kQ8_0, block.data(), 32, values.data() + 32 * row);
    }
    for (int j = 32 * 199; j < 32 * 200; ++j) values[j] = values[j] > 0 ? 0 : values[j];
    const FrozenBase base(infos, BaseBits::kQ8_0, *flat_source(infos, values));
    CHECK(equal(values_of(base, infos[0], 0), values));
    CHECK(base.total_bytes() == (200 * 34 + 63) / 64 * 64);
  }

  TEST_CASE("a policy over a base has its values and runs to the bits of masters with them") {
    for (const BaseBits bits : {BaseBits::kFloat32, BaseBits::kBfloat16, BaseBits::kQ8_0}) {
      const auto frozen = Policy::load_frozen(fixture("qwen3_moe"), bits);
      const auto masters = Policy::load(fixture("qwen3_moe"));
      const auto& infos = masters->parameters().infos();
      for (size_t i = 0; i < infos.size(); ++i)
        frozen->base()->read(i, 0, masters->parameters().view(infos[i]));
      masters->publish(0);
      CHECK(frozen->weights()->sha256() == masters->weights()->sha256());
      std::vector<float> all(masters->parameters().values().size());
      frozen->read_masters(0, all);
      CHECK(equal(all, masters->parameters().values()));
      std::vector<float> part(997);
      frozen->read_masters(71, part);
      CHECK(equal(part, std::span(all).subspan(71, part.size())));
      TempDir dir;
      frozen->save(dir.path());
      const auto loaded = Policy::load(dir.path());
      CHECK(loaded->weights()->sha256() == frozen->weights()->sha256());
      // Two policies over one base share it, and the memory of what nobody holds.
      const auto second = Policy::over(*frozen, frozen->base());
      CHECK(second->base() == frozen->base());
      CHECK(second->weights()->sha256() == frozen->weights()->sha256());
    }
  }

  TEST_CASE("names of bits") {
    CHECK(base_bits_named("q8_0") == BaseBits::kQ8_0);
    CHECK(contains(error_of([] { base_bits_named("int4"); }), "use float32, bfloat16 or q8_0"));
  }
}
