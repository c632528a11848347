// LiveCodeBench hides its larger tests from search engines: base64(zlib(pickle(JSON text))).
#include <zlib.h>

#include <array>
#include <cstdint>

#include "rewards/code/code_columns.h"

namespace zeroth {
namespace {

constexpr size_t kMostBytes = size_t{1} << 30;

bool from_base64(std::string_view text, std::string& bytes) {
  static const std::array<int8_t, 256> values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    int8_t value = 0;
    for (const char c :
         std::string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"))
      table[static_cast<unsigned char>(c)] = value++;
    return table;
  }();
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=' || c == '\n' || c == '\r') continue;
    const int value = values[static_cast<unsigned char>(c)];
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    if (++count % 4 != 1) bytes += static_cast<char>(bits >> (2 * (3 - (count - 1) % 4)) & 0xff);
  }
  return true;
}

bool inflate_all(const std::string& packed, std::string& out) {
  z_stream stream{};
  if (inflateInit(&stream) != Z_OK) return false;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  int status = Z_OK;
  std::string chunk(1 << 16, '\0');
  while (status == Z_OK && out.size() <= kMostBytes) {
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    status = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
    if (status == Z_OK && stream.avail_out != 0 && stream.avail_in == 0) break;
  }
  inflateEnd(&stream);
  return status == Z_STREAM_END && out.size() <= kMostBytes;
}

// The only value of a pickle that holds one text. Nothing is ever executed: other pickles are
// refused.
std::string pickled_text(std::string_view pickle) {
  const auto number = [&](size_t at, size_t bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes && at + i < pickle.size(); ++i)
      n |= static_cast<uint64_t>(static_cast<unsigned char>(pickle[at + i])) << (8 * i);
    return n;
  };
  size_t at = 0;
  if (pickle.starts_with('\x80')) at = 2;                   // PROTO
  if (at < pickle.size() && pickle[at] == '\x95') at += 9;  // FRAME
  if (at >= pickle.size()) return {};
  const char code = pickle[at];
  const size_t width = code == 'X' ? 4 : code == '\x8c' ? 1 : code == '\x8d' ? 8 : 0;
  const uint64_t size = number(at + 1, width);
  const size_t begin = at + 1 + width;
  if (width == 0 || begin > pickle.size() || size > pickle.size() - begin) return {};
  return std::string(pickle.substr(begin, size));
}

}  // namespace

std::string unpack_cases(std::string_view packed) {
  std::string bytes, pickle;
  if (!from_base64(packed, bytes) || !inflate_all(bytes, pickle)) return {};
  if (!pickle.empty() && (pickle[0] == '[' || pickle[0] == '{')) return pickle;  // plain JSON
  return pickled_text(pickle);
}

}  // namespace zeroth
