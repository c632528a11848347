#include "rollout/completion_text.h"

#include <algorithm>

namespace zeroth {

CompletionText::CompletionText(const Tokenizer* tokenizer, const StopStrings& stops)
    : tokenizer_(tokenizer), matcher_(stops), matching_(tokenizer != nullptr && !stops.empty()) {}

bool CompletionText::append(TokenId token) {
  if (tokenizer_ == nullptr) return false;
  const std::vector<TokenId>& eos = tokenizer_->eos_ids();
  ended_ = std::find(eos.begin(), eos.end(), token) != eos.end();
  // A padded vocabulary has ids that stand for no text.
  if (ended_ || !matching_ || token >= tokenizer_->vocab_size()) return ended_;
  const std::string bytes = tokenizer_->token_bytes(token);
  bytes_ += static_cast<int64_t>(bytes.size());
  stopped_ = matcher_.feed(bytes);
  return stopped_;
}

std::string CompletionText::text(std::span<const TokenId> tokens) const {
  if (tokenizer_ == nullptr) return "";
  if (ended_) tokens = tokens.first(tokens.size() - 1);
  std::vector<TokenId> known;
  const TokenId limit = tokenizer_->vocab_size();
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(known),
               [&](TokenId token) { return token < limit; });
  std::string text = tokenizer_->decode(known);
  if (stopped_) text.resize(text.size() - std::min(text.size(), cut(known)));
  return text;
}

size_t CompletionText::cut(std::span<const TokenId> tokens) const {
  size_t visible = 0;
  int64_t end = bytes_;
  for (size_t i = tokens.size(); i-- > 0 && end > matcher_.match_begin();) {
    const TokenId token = tokens[i];
    const int64_t begin = end - static_cast<int64_t>(tokenizer_->token_bytes(token).size());
    // decode() leaves special tokens out, so they have no bytes to cut.
    const std::span<const TokenId> one(&token, 1);
    const bool special = tokenizer_->decode(one).empty() && !tokenizer_->decode(one, false).empty();
    if (!special) visible += end - std::max(begin, matcher_.match_begin());
    end = begin;
  }
  return visible;
}

}  // namespace zeroth
