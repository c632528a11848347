#include "net/digest.h"

#include <doctest/doctest.h>

namespace zeroth {
namespace {

TEST_CASE("the digest of RFC 9530, appendix B.1") {
  CHECK(content_digest("{\"hello\": \"world\"}\n") ==
        "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:");
}

TEST_CASE("a digest fits its body only, among others too") {
  const std::string body = "some bytes";
  CHECK(digest_fits(content_digest(body), body));
  CHECK(digest_fits("sha-512=:xyz:, " + content_digest(body), body));
  CHECK_FALSE(digest_fits(content_digest(body), body + " "));
  CHECK_FALSE(digest_fits("", body));
  CHECK_FALSE(digest_fits("sha-512=:xyz:", body));
}

}  // namespace
}  // namespace zeroth
