#include "rewards/format.h"

#include <string>

namespace zeroth {
namespace {

constexpr std::string_view kThinkOpen = "<think>", kThinkClose = "</think>";
constexpr std::string_view kAnswerOpen = "<answer>", kAnswerClose = "</answer>";
constexpr size_t kNone = std::string_view::npos;

size_t count(std::string_view text, std::string_view tag) {
  size_t n = 0;
  for (size_t at = text.find(tag); at != kNone; at = text.find(tag, at + tag.size())) ++n;
  return n;
}

// nullptr when the text is well formed; else what is wrong.
const char* format_fault(std::string_view text, const FormatRules& rules) {
  const bool closed_by_stop = rules.stopped_at_answer && count(text, kAnswerClose) == 0;
  if (count(text, kThinkOpen) != (rules.think_opened ? 0u : 1u)) return "not exactly one <think>";
  if (count(text, kThinkClose) != 1) return "not exactly one </think>";
  if (count(text, kAnswerOpen) != 1) return "not exactly one <answer>";
  if (!closed_by_stop && count(text, kAnswerClose) != 1) return "not exactly one </answer>";

  if (!rules.think_opened) {
    const size_t open = text.find(kThinkOpen);
    if (!trim(text.substr(0, open)).empty()) return "text before <think>";
    text.remove_prefix(open + kThinkOpen.size());
  }
  const size_t close = text.find(kThinkClose);
  if (close == kNone) return "</think> before <think>";
  const std::string_view think = text.substr(0, close);
  if (think.find(kAnswerOpen) != kNone || think.find(kAnswerClose) != kNone)
    return "answer tag inside the thinking";
  if (!rules.empty_think && trim(think).empty()) return "empty thinking";
  text.remove_prefix(close + kThinkClose.size());

  const size_t open = text.find(kAnswerOpen);
  if (!trim(text.substr(0, open)).empty()) return "text between </think> and <answer>";
  text.remove_prefix(open + kAnswerOpen.size());
  const size_t end = closed_by_stop ? text.size() : text.find(kAnswerClose);
  if (end == kNone) return "</answer> before <answer>";
  if (trim(text.substr(0, end)).empty()) return "empty answer";
  if (!closed_by_stop && !trim(text.substr(end + kAnswerClose.size())).empty())
    return "text after </answer>";
  return nullptr;
}

}  // namespace

ResponseParts split_response(std::string_view text, const FormatRules& rules) {
  ResponseParts parts;
  parts.reason = Reason::kNoAnswer;
  const size_t open = rules.think_opened ? 0 : text.find(kThinkOpen);
  const size_t begin = rules.think_opened ? 0 : open == kNone ? kNone : open + kThinkOpen.size();
  // The answer counts only after the last </think>: what the thinking says is not an answer.
  const size_t last_close = text.rfind(kThinkClose);
  if (begin != kNone) {
    const size_t close = text.find(kThinkClose, begin);
    parts.think_closed = close != kNone;
    parts.think = text.substr(begin, close == kNone ? kNone : close - begin);
    if (!parts.think_closed) {
      parts.why = "thinking never ends";
      return parts;
    }
  }
  std::string_view rest = last_close == kNone ? text : text.substr(last_close + kThinkClose.size());
  if (rest.find(kThinkOpen) != kNone) {
    parts.why = "thinking starts again";
    return parts;
  }
  const size_t answers = count(rest, kAnswerOpen);
  if (answers != 1) {
    parts.why = answers == 0 ? "no <answer>" : "several answers";
    return parts;
  }
  rest.remove_prefix(rest.find(kAnswerOpen) + kAnswerOpen.size());
  const size_t close = rest.find(kAnswerClose);
  if (close == kNone && !rules.stopped_at_answer) {
    parts.why = "answer never ends";
    return parts;
  }
  parts.answer = trim(rest.substr(0, close));
  if (parts.answer.empty()) {
    parts.why = "empty answer";
    return parts;
  }
  parts.reason = Reason::kNone;
  return parts;
}

Verdict check_format(std::string_view completion, const FormatRules& rules, FinishReason finish) {
  Verdict verdict;
  verdict.name = "format";
  verdict.info = Json::object();
  const char* fault = format_fault(completion, rules);
  if (fault == nullptr) {
    verdict.score = 1;
    verdict.reason = Reason::kFormatOk;
    return verdict;
  }
  verdict.reason = finish == FinishReason::kLength ? Reason::kTruncated : Reason::kFormatBad;
  verdict.info["why"] = fault;
  return verdict;
}

}  // namespace zeroth
