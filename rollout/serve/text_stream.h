// A completion's text while its tokens arrive.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace zeroth::serve {

// What may be shown already: whole characters that no stop string can take back. Not thread safe.
class TextStream {
 public:
  // `tokenizer` must outlive it.
  TextStream(const Tokenizer& tokenizer, const std::vector<std::string>& stops);

  // The text that the newest of `tokens` adds to what was returned before (often nothing).
  std::string next(std::span<const TokenId> tokens);
  // What is left of the whole text when the completion has ended.
  std::string rest(const std::string& text);

 private:
  const Tokenizer& tokenizer_;
  size_t held_ = 0;               // bytes that a stop string may still begin in
  std::string decoded_;           // of tokens [0, read_)
  size_t sent_ = 0;               // bytes of decoded_ that were returned
  size_t prefix_ = 0, read_ = 0;  // tokens: decoding goes on from prefix_, read_ are in decoded_
};

// Length of `text` without a UTF-8 character that is not complete at its end.
size_t whole_characters(const std::string& text);

}  // namespace zeroth::serve
