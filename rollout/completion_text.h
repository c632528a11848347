// Sampled tokens to text, with stop strings.
#pragma once

#include <span>
#include <string>

#include "core/trajectory.h"
#include "rollout/stop_matcher.h"
#include "text/tokenizer.h"

namespace zeroth {

// The text side of one completion. Not thread safe.
class CompletionText {
 public:
  // tokenizer may be null: then there is no text and no token ends the completion. Both must
  // outlive this object.
  CompletionText(const Tokenizer* tokenizer, const StopStrings& stops);

  // Takes the next sampled token. True when the completion ends with it: an end-of-text token, or
  // the token in which a stop string is completed. Stop strings also match the names of special
  // tokens.
  bool append(TokenId token);

  // The decoded text of `tokens` (all that were appended), without end-of-text, without the stop
  // string and what follows it, and without special tokens.
  std::string text(std::span<const TokenId> tokens) const;

 private:
  // How many bytes at the end of the decoded tokens belong to the stop string or follow it.
  size_t cut(std::span<const TokenId> tokens) const;

  const Tokenizer* tokenizer_;
  StopMatcher matcher_;
  bool matching_;         // there are stop strings
  bool ended_ = false;    // the last token was end-of-text
  bool stopped_ = false;  // the last token completed a stop string
  int64_t bytes_ = 0;     // of all appended tokens, kept only while matching
};

}  // namespace zeroth
