#include "core/sha256.h"

#include <doctest/doctest.h>

#include <random>

#include "core/error.h"
#include "core/files.h"
#include "core/sha256_many.h"

using namespace zeroth;

// Known answers of FIPS 180-2, appendix B.
TEST_CASE("sha256 of the standard's examples") {
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(sha256_hex(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("sha256 does not depend on how the bytes come") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 7);
  for (size_t step : {1, 3, 63, 64, 65, 128}) {
    Sha256 hash;
    for (size_t i = 0; i < text.size(); i += step) hash.update(text.substr(i, step));
    CHECK(hash.hex() == sha256_hex(text));
  }
  const auto path = std::filesystem::temp_directory_path() / "zeroth_sha256_test";
  write_file_atomic(path, text);
  CHECK(sha256_file(path) == sha256_hex(text));
  std::filesystem::remove(path);
  CHECK_THROWS_AS(sha256_file(path), Error);
}

// Blocks are 64 bytes, and the length takes 9 of the last one.
TEST_CASE("many messages at once have the hashes that each has alone") {
  std::mt19937 random(5);
  std::string bytes(300'000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  for (const size_t count : {0u, 1u, 2u, 3u, 7u, 200u}) {
    std::vector<std::string_view> messages;
    for (size_t i = 0; i < count; ++i) {
      const size_t size = i < 140 ? i : random() % 20'000;
      messages.push_back(std::string_view(bytes).substr(random() % 100'000, size));
    }
    if (count == 7) messages[3] = bytes;
    const std::vector<std::string> hashes = sha256_hex_many(messages);
    REQUIRE(hashes.size() == count);
    for (size_t i = 0; i < count; ++i) {
      CAPTURE(messages[i].size());
      CHECK(hashes[i] == sha256_hex(messages[i]));
    }
  }
}
