// From the text of a prompt to the tokens that stand before the policy: the same way in training,
// evaluation, pretraining and sampling.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/config.h"
#include "text/tokenizer.h"

namespace zeroth {

struct PromptConfig {
  std::string bos = "auto";
  std::string date;
  template <class V>
  void fields(V& v) {
    v("bos", bos,
      "the begin-of-text token: auto = as the tokenizer says for texts, and as the chat template "
      "writes it for chats; always = in front of every prompt; never = in front of none",
      Choice{{"auto", "always", "never"}});
    v("date", date,
      "the date that a chat template sees (strftime_now), 2026-03-07 or 2026-03-07T09:05:04; empty "
      "= that of the start");
  }
};

// Immutable; thread safe. The tokenizer must outlive it.
class PromptEncoder {
 public:
  // Throws a usage Error for bos = "always" without a begin token.
  PromptEncoder(const Tokenizer& tokenizer, const std::string& bos);

  // `chat`: a chat template made the text, which then holds its own begin token or none. With
  // "auto" other texts get what the tokenizer puts in front, unless it stands there already. What
  // a tokenizer would put behind a text is left out: the policy goes on there.
  std::vector<TokenId> encode(std::string_view text, bool chat) const;

  // Lines for the start of a run: the prompt as the policy sees it, as ids and text, its begin
  // token, the end tokens, and the tokenizer's notes. `what` names the prompt.
  std::string report(const std::string& what, std::span<const TokenId> prompt) const;

 private:
  const Tokenizer& tokenizer_;
  std::string bos_;
};

}  // namespace zeroth
