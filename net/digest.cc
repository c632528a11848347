#include "net/digest.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

namespace zeroth {

std::string content_digest(std::string_view body) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  ::SHA256(reinterpret_cast<const unsigned char*>(body.data()), body.size(), digest);
  unsigned char text[4 * ((SHA256_DIGEST_LENGTH + 2) / 3) + 1];
  const int length = ::EVP_EncodeBlock(text, digest, sizeof digest);
  return "sha-256=:" + std::string(reinterpret_cast<const char*>(text), length) + ":";
}

bool digest_fits(std::string_view header, std::string_view body) {
  return header.find(content_digest(body)) != std::string_view::npos;
}

}  // namespace zeroth
