#include "model/formats/safetensors.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>

#include "tests/model/support.h"

using namespace zeroth;
using namespace zeroth::test;

namespace {

std::string refusal(const std::string& header, uint64_t data_bytes) {
  return error_of([&] { parse_safetensors_header(header, data_bytes, "file"); });
}

std::string tensor(const std::string& name, const std::string& shape, const std::string& offsets,
                   const std::string& dtype = "F32") {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

std::string bytes_of(const std::string& header, size_t data, uint64_t claimed) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &claimed, 8);
  return file + header + std::string(data, '\0');
}

std::string file_refusal(const std::string& content) {
  const TempDir dir;
  write_file_atomic(dir.path() / "x.safetensors", content);
  return error_of([&] { SafetensorsFile file(dir.path() / "x.safetensors"); });
}

}  // namespace

TEST_CASE("a sound header is read in the order of its data") {
  const std::string header = "{\"__metadata__\":{\"format\":\"pt\"}," +
                             tensor("b", "[2]", "[12,20]") + "," + tensor("a", "[]", "[8,12]") +
                             "," + tensor("c", "[4,0]", "[20,20]") + "," +
                             tensor("h", "[2,2]", "[0,8]", "BF16") + "}";
  const auto entries = parse_safetensors_header(header, 20, "file");
  REQUIRE(entries.size() == 4);
  CHECK(entries[0].name == "h");
  CHECK(entries[0].dtype == DType::kBf16);
  CHECK(entries[1].name == "a");
  CHECK(entries[1].count() == 1);
  CHECK(entries[3].count() == 0);
  CHECK(parse_safetensors_header("{}", 0, "file").empty());
}

TEST_CASE("hostile headers are refused with the tensor's name") {
  const auto one = [](const std::string& shape, const std::string& offsets,
                      const std::string& dtype = "F32") {
    return "{" + tensor("t", shape, offsets, dtype) + "}";
  };
  CHECK(refusal(one("[2]", "[0,8]"), 8).empty());
  CHECK(contains(refusal(one("[2]", "[0,8]"), 7), "'t' has data_offsets"));
  CHECK(contains(refusal(one("[2]", "[8,0]"), 8), "data_offsets"));
  CHECK(contains(refusal(one("[2]", "[0,18446744073709551615]"), 8), "data_offsets"));
  CHECK(contains(refusal(one("[3]", "[0,8]"), 8), "shape"));
  CHECK(contains(refusal(one("[281474976710655,281474976710655]", "[0,8]"), 8), "overflows"));
  CHECK(contains(refusal(one("[4294967296,4294967296,4]", "[0,0]"), 0), "overflows"));
  CHECK(contains(refusal(one("[18446744073709551615]", "[0,8]"), 8), "2^48"));
  CHECK(contains(refusal(one("[-2]", "[0,8]"), 8), "negative"));
  CHECK(contains(refusal(one("[2.0]", "[0,8]"), 8), "fraction"));
  CHECK(contains(refusal(one("[[2]]", "[0,8]"), 8), "a list"));
  CHECK(contains(refusal(one("[2]", "[0,4,8]"), 8), "more than two"));
  CHECK(contains(refusal(one("[2]", "[0]"), 8), "lacks"));
  CHECK(contains(refusal(one("[2]", "[0,8]", "F31"), 8), "F31"));
  CHECK(contains(refusal(one("[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,2]", "[0,8]"), 8), "dimensions"));
  CHECK(contains(
      refusal("{" + tensor("t", "[1]", "[0,4]") + "," + tensor("t", "[1]", "[4,8]") + "}", 8),
      "appears twice"));
  CHECK(contains(
      refusal("{" + tensor("t", "[1]", "[0,4]") + "," + tensor("u", "[1]", "[2,6]") + "}", 8),
      "begins at byte 2"));
  CHECK(contains(
      refusal("{" + tensor("t", "[1]", "[0,4]") + "," + tensor("u", "[1]", "[5,9]") + "}", 9),
      "begins at byte 5"));
  CHECK(contains(refusal(one("[1]", "[0,4]"), 6), "2 bytes behind"));
  CHECK(contains(refusal("{\"t\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0), "twice"));
  CHECK(contains(refusal("{\"t\":{\"size\":1}}", 0), "unknown field"));
  CHECK(contains(refusal("{\"t\":{\"shape\":{}}}", 0), "nesting"));
  CHECK(contains(refusal("{\"t\":{\"shape\":1}}", 0), "a number"));
  CHECK(contains(refusal("{\"t\":null}", 0), "a null"));
  CHECK(contains(refusal("{\"t\":true}", 0), "a boolean"));
  CHECK(contains(refusal("{\"t\":[]}", 0), "a list"));
  CHECK(contains(refusal("{\"t\":7}", 0), "a number"));
  CHECK(contains(refusal("[1]", 0), "not a JSON object"));
  CHECK(contains(refusal("", 0), "not a JSON object"));
  CHECK(contains(refusal("{\"t\":", 0), "not valid JSON"));
  CHECK(contains(refusal("{} {}", 0), "not valid JSON"));
  CHECK(contains(refusal("{\"\xff\":{}}", 0), "not valid JSON"));
  // Depth must cost neither stack nor time.
  std::string deep = "{\"__metadata__\":";
  for (int i = 0; i < 1000000; ++i) deep += "{\"a\":";
  CHECK(contains(refusal(deep, 0), "nesting"));
  CHECK(contains(refusal("{\"t\":{\"shape\":" + std::string(1000000, '['), 0), "a list"));
}

TEST_CASE("files that are cut or lie about their header") {
  const std::string header = "{" + tensor("t", "[2]", "[0,8]") + "}";
  CHECK(file_refusal(bytes_of(header, 8, header.size())).empty());
  CHECK(contains(file_refusal(bytes_of(header, 7, header.size())), "truncated"));
  CHECK(contains(file_refusal(bytes_of(header, 8, header.size() + 100)), "claims"));
  CHECK(contains(file_refusal(bytes_of(header, 8, ~uint64_t{0})), "claims"));
  CHECK(contains(file_refusal(bytes_of(header, 8, uint64_t{1} << 40)), "claims"));
  CHECK(contains(file_refusal("short"), "too few"));
  CHECK_FALSE(file_refusal("").empty());
  for (size_t cut = 1; cut < header.size() + 16; ++cut) {
    const std::string whole = bytes_of(header, 8, header.size());
    CHECK_FALSE(file_refusal(whole.substr(0, whole.size() - cut)).empty());
  }
}

TEST_CASE("widening is exact") {
  const auto half = [](uint16_t bits) {
    float out = 0;
    widen(DType::kF16, reinterpret_cast<const std::byte*>(&bits), 1, &out);
    return out;
  };
  CHECK(half(0x3c00) == 1.0f);
  CHECK(half(0xc000) == -2.0f);
  CHECK(half(0x7bff) == 65504.0f);
  CHECK(half(0x0001) == std::ldexp(1.0f, -24));
  CHECK(half(0x03ff) == std::ldexp(1023.0f, -24));
  CHECK(half(0x0400) == std::ldexp(1.0f, -14));
  CHECK(std::signbit(half(0x8000)));
  CHECK(std::isinf(half(0x7c00)));
  CHECK(std::isnan(half(0x7e00)));
  const auto eight = [](uint8_t bits) {
    float out = 0;
    widen(DType::kF8E4M3, reinterpret_cast<const std::byte*>(&bits), 1, &out);
    return out;
  };
  CHECK(eight(0x38) == 1.0f);
  CHECK(eight(0x7e) == 448.0f);
  CHECK(eight(0xfe) == -448.0f);
  CHECK(eight(0x01) == std::ldexp(1.0f, -9));
  CHECK(eight(0x08) == std::ldexp(1.0f, -6));
  CHECK(std::isnan(eight(0x7f)));
}

TEST_CASE("bfloat16 rounds to nearest even") {
  const auto round = [](uint32_t bits) { return to_bfloat16(std::bit_cast<float>(bits)); };
  CHECK(round(0x3f800000) == 0x3f80);
  CHECK(round(0x3f808000) == 0x3f80);  // tie, even below
  CHECK(round(0x3f818000) == 0x3f82);  // tie, even above
  CHECK(round(0x3f808001) == 0x3f81);
  CHECK(round(0x7f7fffff) == 0x7f80);
  CHECK((round(0x7f800001) & 0x7f) != 0);
}

TEST_CASE("what is written is read back") {
  const TempDir dir;
  const std::vector<float> a = {1, -2.5f, 1e-30f}, b = {0.1f, 3, 4, 5};
  const std::vector<TensorToWrite> tensors = {{"a", {3}, a}, {"b", {2, 2}, b, true}};
  write_safetensors(dir.path() / "x.safetensors", tensors);
  const SafetensorsFile file(dir.path() / "x.safetensors");
  REQUIRE(file.tensors().size() == 2);
  std::vector<float> back(3);
  file.read(file.tensors()[0], 0, back);
  CHECK(same_bits(back, a));
  back.resize(4);
  CHECK(file.tensors()[1].dtype == DType::kBf16);
  file.read(file.tensors()[1], 0, back);
  CHECK(back[0] == std::bit_cast<float>(0x3dcd0000u));
  CHECK(back[3] == 5);
  back.resize(2);
  file.read(file.tensors()[1], 2, back);
  CHECK(back == std::vector<float>{4, 5});
}
