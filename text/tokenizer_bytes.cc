#include "text/tokenizer_bytes.h"

#include <array>

#include "text/tokenizer_unicode.h"

namespace zeroth {
namespace {

constexpr CodePoint kAlphabetEnd = 0x144;

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<int16_t, kAlphabetEnd> bytes;  // by code point, -1: not of the alphabet

  Alphabet() {
    bytes.fill(-1);
    CodePoint next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
      const CodePoint code = printable ? static_cast<CodePoint>(byte) : next++;
      append_utf8(characters[byte], code);
      bytes[code] = static_cast<int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::string& byte_level_character(uint8_t byte) { return alphabet().characters[byte]; }

std::string to_byte_level(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() + bytes.size() / 4);
  for (char byte : bytes) out += alphabet().characters[static_cast<uint8_t>(byte)];
  return out;
}

bool append_from_byte_level(std::string_view spelling, std::string& bytes) {
  const size_t before = bytes.size();
  while (!spelling.empty()) {
    const Utf8Char c = decode_utf8(spelling);
    if (c.length == 0 || c.code >= kAlphabetEnd || alphabet().bytes[c.code] < 0) {
      bytes.resize(before);
      return false;
    }
    bytes += static_cast<char>(alphabet().bytes[c.code]);
    spelling.remove_prefix(c.length);
  }
  return true;
}

}  // namespace zeroth
