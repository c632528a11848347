// Which part of a completion may hold the answer: what follows the thinking, and the answer block.
#include <algorithm>
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

// Where each mark stands last, the tags in any case; one walk over the brackets of the text.
struct LastTags {
  size_t open[kThinkMarks.size()], close[kThinkMarks.size()];
  size_t answer = kNpos, answer_end = kNpos;

  explicit LastTags(std::string_view text) {
    std::fill_n(open, kThinkMarks.size(), kNpos);
    std::fill_n(close, kThinkMarks.size(), kNpos);
    for (size_t at = text.find('<'); at != kNpos; at = text.find('<', at + 1)) note(text, at);
    for (size_t i = 0; i < kThinkMarks.size(); ++i) {
      if (kThinkMarks[i].open.front() == '<') continue;
      open[i] = last(text, kThinkMarks[i].open);
      close[i] = last(text, kThinkMarks[i].close);
    }
  }

 private:
  void note(std::string_view text, size_t at) {
    const std::string_view tag = text.substr(at);
    const char next = tag.size() > 1 ? static_cast<char>(tag[1] | 32) : '\0';
    if (next == 'a' && same_ignoring_case(tag, "<answer>")) answer = at;
    if (next == '/' && same_ignoring_case(tag, "</answer>")) answer_end = at;
    if (next != 't' && next != '/' && next != '|') return;
    for (size_t i = 0; i < kThinkMarks.size(); ++i) {
      if (same_ignoring_case(tag, kThinkMarks[i].open)) open[i] = at;
      if (same_ignoring_case(tag, kThinkMarks[i].close)) close[i] = at;
    }
  }
  static size_t last(std::string_view text, std::string_view mark) {
    return text.find(mark) == kNpos ? kNpos : text.rfind(mark);  // find is the faster one
  }
};

size_t first_tag(std::string_view text, std::string_view lower, size_t from) {
  for (size_t at = text.find('<', from); at != kNpos; at = text.find('<', at + 1)) {
    if (same_ignoring_case(text.substr(at), lower)) return at;
  }
  return kNpos;
}

}  // namespace

bool answer_region(std::string_view completion, AnswerFormat format, std::string_view* region) {
  if (completion.find('<') == kNpos && completion.find("\xE2\x97\x81") == kNpos) {  // no tag at all
    *region = completion;
    return format == AnswerFormat::kAuto;
  }
  const LastTags last(completion);
  bool closed = false;
  size_t begin = 0;  // of what is left
  const auto left = [&](size_t at) { return at != kNpos && at >= begin; };
  for (size_t i = 0; i < kThinkMarks.size(); ++i) {
    const bool ends = left(last.close[i]);
    // Thinking that never ends came to no answer, wherever it began.
    if (left(last.open[i]) && (!ends || last.open[i] > last.close[i])) return false;
    if (!ends) continue;
    closed |= kThinkMarks[i].close == "</think>";
    begin = last.close[i] + kThinkMarks[i].close.size();
  }
  if (format == AnswerFormat::kThink && !closed) return false;
  size_t end = completion.size();
  if (format == AnswerFormat::kAnswerTag) {
    if (!left(last.answer)) return false;
    end = first_tag(completion, "</answer>", last.answer);
    if (end == kNpos) return false;
    begin = last.answer + 8;
  } else if (format == AnswerFormat::kAuto && left(last.answer) && left(last.answer_end) &&
             last.answer < last.answer_end &&
             completion.find("\\boxed", last.answer_end) == kNpos) {
    // Answer tags count without being asked for, unless a box follows them.
    begin = last.answer + 8;
    end = last.answer_end;
  }
  *region = completion.substr(begin, end - begin);
  return true;
}

}  // namespace zeroth::math
