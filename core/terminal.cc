#include "core/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace zeroth {
namespace {

constexpr char32_t kInvalid = 0xFFFFFFFF;

void append_escaped(std::string& out, std::string_view bytes, char32_t c) {
  char buffer[16];
  if (c == kInvalid) {
    std::snprintf(buffer, sizeof buffer, "<0x%02X>", static_cast<unsigned char>(bytes[0]));
    out += buffer;
  } else if (steers_terminal(c)) {
    std::snprintf(buffer, sizeof buffer, "<U+%04X>", static_cast<unsigned>(c));
    out += buffer;
  } else {
    out += bytes;
  }
}

}  // namespace

bool steers_terminal(char32_t c) {
  if (c < 0x20) return c != '\n' && c != '\t';
  if (c >= 0x7f && c < 0xa0) return true;
  return (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2060 && c <= 0x2069) || c == 0xfeff || c == 0x061c;
}

char32_t next_character(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(at);
  const int extra = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
  if (extra == 0) return text[at++];
  const bool bad_lead = lead < 0xc2 || lead > 0xf4;
  char32_t c = lead & (0x3f >> extra);
  if (bad_lead || at + extra >= text.size()) {
    ++at;
    return kInvalid;
  }
  for (int i = 1; i <= extra; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) {
      ++at;
      return kInvalid;
    }
    c = c << 6 | (byte(at + i) & 0x3f);
  }
  constexpr char32_t kSmallest[] = {0, 0x80, 0x800, 0x10000};
  if (c < kSmallest[extra] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
    ++at;
    return kInvalid;
  }
  at += extra + 1;
  return c;
}

std::string printable(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t start = at;
    const char32_t c = next_character(text, at);
    append_escaped(out, text.substr(start, at - start), c);
  }
  return out;
}

std::string printable_line(std::string_view text, size_t width) {
  std::string out;
  size_t columns = 0;
  for (size_t at = 0; at < text.size(); ++columns) {
    if (columns + 1 >= width && width > 0) return out + "…";
    const size_t start = at;
    const char32_t c = next_character(text, at);
    if (c == '\n') {
      out += "⏎";
    } else if (c == '\t') {
      out += ' ';
    } else {
      append_escaped(out, text.substr(start, at - start), c);
    }
  }
  return out;
}

bool wants_color(int fd) {
  const char* no_color = std::getenv("NO_COLOR");
  if (no_color != nullptr && *no_color != '\0') return false;
  const char* term = std::getenv("TERM");
  if (term == nullptr || std::string_view(term) == "dumb") return false;
  return ::isatty(fd) != 0;
}

int terminal_width(int fd, int otherwise) {
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return otherwise;
  return size.ws_col;
}

}  // namespace zeroth
