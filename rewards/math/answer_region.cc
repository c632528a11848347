// Which part of a completion may hold the answer: what follows the thinking, and the answer block.
#include <array>

#include "rewards/math/extract.h"

namespace zeroth::math {

namespace {

constexpr size_t kNpos = std::string_view::npos;

bool same_ignoring_case(std::string_view text, std::string_view lower) {
  if (text.size() < lower.size()) return false;
  for (size_t i = 0; i < lower.size(); ++i) {
    const char c = text[i];
    if ((c >= 'A' && c <= 'Z' ? c | 32 : c) != lower[i]) return false;
  }
  return true;
}

// Where thinking begins and ends, as the models in use mark it.
struct ThinkMarks {
  std::string_view open, close;
};
constexpr std::array<ThinkMarks, 4> kThinkMarks = {
    {{"<think>", "</think>"},
     {"<thinking>", "</thinking>"},
     {"<|begin_of_thought|>", "<|end_of_thought|>"},
     {"\xE2\x97\x81think\xE2\x96\xB7", "\xE2\x97\x81/think\xE2\x96\xB7"}}};  // Kimi's triangles

// The last tag `lower` in any case; one walk over the brackets of the text.
size_t last_tag(std::string_view text, std::string_view lower) {
  for (size_t at = text.rfind('<'); at != kNpos; at = at == 0 ? kNpos : text.rfind('<', at - 1)) {
    if (same_ignoring_case(text.substr(at), lower)) return at;
  }
  return kNpos;
}

size_t first_tag(std::string_view text, std::string_view lower, size_t from) {
  for (size_t at = text.find('<', from); at != kNpos; at = text.find('<', at + 1)) {
    if (same_ignoring_case(text.substr(at), lower)) return at;
  }
  return kNpos;
}

size_t last_mark(std::string_view text, std::string_view mark) {
  if (mark.front() == '<') return last_tag(text, mark);
  return text.find(mark) == kNpos ? kNpos : text.rfind(mark);  // find is the faster one
}

}  // namespace

bool answer_region(std::string_view completion, AnswerFormat format, std::string_view* region) {
  if (completion.find('<') == kNpos && completion.find("\xE2\x97\x81") == kNpos) {  // no tag at all
    *region = completion;
    return format == AnswerFormat::kAuto;
  }
  bool closed = false;
  for (const ThinkMarks& marks : kThinkMarks) {
    const size_t close = last_mark(completion, marks.close);
    const size_t open = last_mark(completion, marks.open);
    // Thinking that never ends came to no answer, wherever it began.
    if (open != kNpos && (close == kNpos || open > close)) return false;
    if (close == kNpos) continue;
    closed |= marks.close == "</think>";
    completion.remove_prefix(close + marks.close.size());
  }
  if (format == AnswerFormat::kThink && !closed) return false;
  const size_t begin = last_tag(completion, "<answer>");
  if (format == AnswerFormat::kAnswerTag) {
    if (begin == kNpos) return false;
    const size_t end = first_tag(completion, "</answer>", begin);
    if (end == kNpos) return false;
    completion = completion.substr(begin + 8, end - begin - 8);
  } else if (format == AnswerFormat::kAuto && begin != kNpos) {
    // Answer tags count without being asked for, unless a box follows them.
    const size_t end = last_tag(completion, "</answer>");
    const bool tagged = end != kNpos && begin < end;
    if (tagged && completion.find("\\boxed", end) == kNpos)
      completion = completion.substr(begin + 8, end - begin - 8);
  }
  *region = completion;
  return true;
}

}  // namespace zeroth::math
