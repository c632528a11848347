#include "text/token_spans.h"

namespace zeroth {
namespace {

// What the tokens spell; `ends`, unless null, gets the byte behind each.
std::string spelled(const Tokenizer& tokenizer, std::span<const TokenId> ids,
                    std::vector<size_t>* ends = nullptr) {
  std::string out;
  for (const TokenId id : ids) {
    out += tokenizer.token_bytes(id);
    if (ends) ends->push_back(out.size());
  }
  return out;
}

}  // namespace

std::optional<std::vector<char>> tokens_in_spans(const Tokenizer& tokenizer, std::string_view text,
                                                 std::span<const TokenId> ids,
                                                 std::span<const TextSpan> spans) {
  std::vector<size_t> ends;
  const std::string whole = spelled(tokenizer, ids, &ends);
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
    for (size_t i = 0; i < ids.size(); ++i) {
      if ((i > 0 ? ends[i - 1] : 0) < *end && ends[i] > *begin) inside[i] = 1;
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
