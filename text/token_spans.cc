#include "text/token_spans.h"

namespace zeroth {
namespace {

std::string spelled(const Tokenizer& tokenizer, std::span<const TokenId> ids) {
  std::string out;
  for (const TokenId id : ids) out += tokenizer.token_bytes(id);
  return out;
}

}  // namespace

std::optional<std::vector<char>> tokens_in_spans(const Tokenizer& tokenizer, std::string_view text,
                                                 std::span<const TokenId> ids,
                                                 std::span<const TextSpan> spans) {
  const std::string whole = spelled(tokenizer, ids);
  const bool as_written = whole == text;
  // Where a border of the text lies in what the tokens spell.
  const auto border = [&](size_t at) -> std::optional<size_t> {
    if (as_written || at == 0) return at;
    if (at == text.size()) return whole.size();
    const std::string front = spelled(tokenizer, tokenizer.encode(text.substr(0, at)));
    if (!whole.starts_with(front)) return std::nullopt;
    return front.size();
  };
  std::vector<char> inside(ids.size(), 0);
  for (const TextSpan& span : spans) {
    const auto begin = border(span.begin), end = border(span.end);
    if (!begin || !end) return std::nullopt;
    size_t at = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const size_t next = at + tokenizer.token_bytes(ids[i]).size();
      if (at < *end && next > *begin) inside[i] = 1;
      at = next;
    }
  }
  return inside;
}

std::vector<size_t> code_point_offsets(std::string_view text) {
  std::vector<size_t> offsets;
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) offsets.push_back(i);
  }
  offsets.push_back(text.size());
  return offsets;
}

}  // namespace zeroth
