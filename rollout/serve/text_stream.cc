#include "rollout/serve/text_stream.h"

#include <algorithm>

namespace zeroth::serve {

size_t whole_characters(const std::string& text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xc0) == 0x80) continue;  // inside of a character
    const size_t length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

TextStream::TextStream(const Tokenizer& tokenizer, const std::vector<std::string>& stops)
    : tokenizer_(tokenizer) {
  for (const std::string& stop : stops) held_ = std::max(held_, stop.size());
}

std::string TextStream::next(std::span<const TokenId> tokens) {
  // Some tokenizers write a token differently at the beginning, so a few tokens in front of the new
  // ones are decoded along with them, and their text is taken off again.
  std::vector<TokenId> window;
  const TokenId limit = tokenizer_.vocab_size();
  const auto take = [&](size_t begin, size_t end) {
    window.clear();
    for (size_t i = begin; i < end; ++i)
      if (tokens[i] < limit) window.push_back(tokens[i]);
    return tokenizer_.decode(window);
  };
  const std::string before = take(prefix_, read_), with = take(prefix_, tokens.size());
  if (with.size() >= before.size()) decoded_ += with.substr(before.size());
  if (whole_characters(with) == with.size()) prefix_ = read_;
  read_ = tokens.size();
  const size_t whole = whole_characters(decoded_);
  const size_t safe = whole - std::min(whole, held_);
  // Never between the bytes of a character.
  const size_t end = whole_characters(decoded_.substr(0, safe));
  if (end <= sent_) return "";
  std::string out = decoded_.substr(sent_, end - sent_);
  sent_ = end;
  return out;
}

std::string TextStream::rest(const std::string& text) {
  return sent_ < text.size() ? text.substr(sent_) : std::string();
}

}  // namespace zeroth::serve
