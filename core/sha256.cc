#include "core/sha256.h"

#include <openssl/evp.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace zeroth {
namespace {

void expect(bool done) {
  if (!done) fail("libcrypto computes no SHA-256", "is OpenSSL installed whole?");
}

// The method is looked up once: a look-up takes longer than hashing a short message.
const EVP_MD* method() {
  static const EVP_MD* const found = ::EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return found;
}

}  // namespace

void Sha256::Free::operator()(evp_md_ctx_st* context) const { ::EVP_MD_CTX_free(context); }

Sha256::Sha256() : context_(::EVP_MD_CTX_new()) {
  expect(context_ != nullptr && method() != nullptr &&
         ::EVP_DigestInit_ex2(context_.get(), method(), nullptr) == 1);
}

void Sha256::update(const void* data, size_t bytes) {
  expect(::EVP_DigestUpdate(context_.get(), data, bytes) == 1);
}

std::array<uint8_t, 32> Sha256::digest() {
  std::array<uint8_t, 32> out{};
  expect(::EVP_DigestFinal_ex(context_.get(), out.data(), nullptr) == 1);
  return out;
}

std::string Sha256::hex() {
  static const char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest()) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string sha256_hex(std::string_view text) {
  Sha256 hash;
  hash.update(text);
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) fail("cannot open " + path.string() + ": " + std::strerror(errno), "is it there?");
  Sha256 hash;
  std::array<char, 1 << 16> buffer;
  for (;;) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get());
    hash.update(buffer.data(), n);
    if (n < buffer.size()) break;
  }
  if (std::ferror(file.get())) fail("cannot read " + path.string(), "is the disk healthy?");
  return hash.hex();
}

}  // namespace zeroth
