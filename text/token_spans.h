// Which tokens of a text stand inside given parts of it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace zeroth {

// Bytes [begin, end) of a text.
struct TextSpan {
  size_t begin = 0, end = 0;
};

// [ids] 1 for every token that shares a byte with a span, as transformers' char_to_token finds them.
// `ids` are tokenizer.encode(text). Where the tokenizer rewrites the text first (NFC, a blank in
// front), the borders of spans are rewritten likewise. None when that does not say where they are:
// what stands in front of a border is spelled otherwise than the whole text begins. Thread safe;
// encodes the text in front of every border.
std::optional<std::vector<char>> tokens_in_spans(const Tokenizer& tokenizer, std::string_view text,
                                                 std::span<const TokenId> ids,
                                                 std::span<const TextSpan> spans);

// Byte offsets of code points: [n + 1] for n code points, the last one is text.size().
std::vector<size_t> code_point_offsets(std::string_view text);

}  // namespace zeroth
