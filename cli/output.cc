#include "cli/output.h"

#include <unistd.h>

#include <cstdio>

#include "core/terminal.h"

namespace zeroth {
namespace {

// UTF-16 escapes of JSON, which name characters above U+FFFF by two.
void append_escape(std::string& out, char32_t c) {
  char text[16];
  if (c >= 0x10000) {
    std::snprintf(text, sizeof text, "\\u%04x\\u%04x",
                  static_cast<unsigned>(0xd800 + ((c - 0x10000) >> 10)),
                  static_cast<unsigned>(0xdc00 + ((c - 0x10000) & 0x3ff)));
  } else {
    std::snprintf(text, sizeof text, "\\u%04x", static_cast<unsigned>(c));
  }
  out += text;
}

}  // namespace

std::string json_line(const Json& json) {
  const std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = next_character(text, at);
    if (steers_terminal(c)) {
      append_escape(out, c);
    } else {
      out.append(text, start, at - start);
    }
  }
  return out;
}

void print_json(const Json& json) { std::printf("%s\n", json_line(json).c_str()); }

std::string shown_text(std::string_view text) {
  return ::isatty(STDOUT_FILENO) != 0 ? printable(text) : std::string(text);
}

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) {
    std::fprintf(stderr, "note: %s\n", printable(note).c_str());
  }
}

}  // namespace zeroth
