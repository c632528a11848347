#include "text/prompt.h"

#include <algorithm>

#include "core/error.h"
#include "core/terminal.h"

namespace zeroth {
namespace {

constexpr size_t kShownIds = 512;
constexpr size_t kShownText = 4096;

// One token or text in quotes, with everything escaped that could steer a terminal.
std::string shown(const std::string& text) {
  return printable(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

PromptEncoder::PromptEncoder(const Tokenizer& tokenizer, const std::string& bos)
    : tokenizer_(tokenizer), bos_(bos) {
  if (bos == "always" && tokenizer.bos_id() < 0) {
    fail_usage("bos = always, but this tokenizer has no begin-of-text token",
               "use auto or never, or name a bos_token in tokenizer_config.json");
  }
}

std::vector<TokenId> PromptEncoder::encode(std::string_view text, bool chat) const {
  std::vector<TokenId> ids = tokenizer_.encode(text);
  std::vector<TokenId> front;
  if (bos_ == "always") front = {tokenizer_.bos_id()};
  if (bos_ == "auto" && !chat) front = tokenizer_.special().front;
  const bool there =
      ids.size() >= front.size() && std::equal(front.begin(), front.end(), ids.begin());
  if (!there) ids.insert(ids.begin(), front.begin(), front.end());
  if (bos_ == "never" && !ids.empty() && ids.front() == tokenizer_.bos_id()) {
    ids.erase(ids.begin());
  }
  return ids;
}

std::string PromptEncoder::report(const std::string& what, std::span<const TokenId> prompt) const {
  const SpecialTokens& special = tokenizer_.special();
  const auto token = [&](TokenId id) {
    return std::to_string(id) + " " + shown(tokenizer_.token_text(id));
  };
  std::string out = what + " as the policy sees it: " + std::to_string(prompt.size()) + " tokens";
  const bool begins = !prompt.empty() && special.begin >= 0 && prompt.front() == special.begin;
  out += begins ? ", begin token " + token(special.begin) : ", no begin token";
  out += "\n  ids ";
  for (size_t i = 0; i < std::min(prompt.size(), kShownIds); ++i) {
    out += " " + std::to_string(prompt[i]);
  }
  if (prompt.size() > kShownIds) out += " ..";
  const std::string text = tokenizer_.decode(prompt, false);
  out += "\n  text " + shown(text.substr(0, kShownText)) + (text.size() > kShownText ? " .." : "");
  out += "\n  end tokens";
  for (const TokenId id : special.ends) out += " " + token(id);
  if (special.ends.empty()) out += " none";
  out += "\n";
  for (const std::string& note : special.notes) out += "  note: " + printable(note) + "\n";
  return out;
}

}  // namespace zeroth
