#include "net/digest.h"

#include <openssl/evp.h>

#include "core/sha256.h"

namespace zeroth {

std::string content_digest(std::string_view body) {
  Sha256 hash;
  hash.update(body);
  const auto digest = hash.digest();
  unsigned char text[4 * ((digest.size() + 2) / 3) + 1];
  const int length = ::EVP_EncodeBlock(text, digest.data(), static_cast<int>(digest.size()));
  return "sha-256=:" + std::string(reinterpret_cast<const char*>(text), length) + ":";
}

bool digest_fits(std::string_view header, std::string_view body) {
  return header.find(content_digest(body)) != std::string_view::npos;
}

}  // namespace zeroth
