// Digests of bodies (RFC 9530), so that what a broken wire or proxy has changed is noticed.
#pragma once

#include <string>
#include <string_view>

namespace zeroth {

inline constexpr char kDigestHeader[] = "content-digest";
// "sha-256=:BASE64:".
std::string content_digest(std::string_view body);
// Whether `header` names the body's SHA-256. Other algorithms alone are not known: false.
bool digest_fits(std::string_view header, std::string_view body);

}  // namespace zeroth
