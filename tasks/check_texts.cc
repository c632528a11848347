#include "tasks/check_texts.h"

#include "core/rng.h"

namespace zeroth {

std::vector<std::string> junk_completions(uint32_t index) {
  std::vector<std::string> texts = {"",
                                    " \n",
                                    ":",
                                    "{",
                                    "Thought process:",
                                    "<think>",
                                    "</think>",
                                    "<answer>",
                                    "</answer>",
                                    "<think></think><answer></answer>",
                                    "<think></think><answer> </answer>",
                                    "<think></think><answer>I do not know</answer>",
                                    "<think></think><answer>the answer</answer>"};
  if (index <= 5) texts.emplace_back(1 << 20, 'a');
  std::string tags, bytes;
  for (int i = 0; i < 200; ++i) tags += "<think><answer></think></answer>";
  texts.push_back(tags);
  Rng rng(0x6a756e6b, index);
  for (int i = 0; i < 300; ++i) {
    // No digit: bytes that end in the right number by chance are right.
    const auto byte = static_cast<char>(rng.below(256));
    bytes += byte >= '0' && byte <= '9' ? '#' : byte;
  }
  texts.push_back(bytes);
  return texts;
}

std::pair<size_t, size_t> answer_range(const std::string& text) {
  const size_t open = text.rfind("<answer>");
  if (open != std::string::npos) {
    const size_t close = text.find("</answer>", open);
    return {open + 8, close == std::string::npos ? text.size() : close};
  }
  const size_t think = text.rfind("</think>");
  return {think == std::string::npos ? 0 : think + 8, text.size()};
}

std::string perturbed(const std::string& gold) {
  const auto [begin, end] = answer_range(gold);
  for (size_t at = end; at > begin; --at) {
    const char c = gold[at - 1];
    std::string text = gold;
    if (c >= '0' && c <= '9') {
      text[at - 1] = c == '9' ? '8' : static_cast<char>(c + 1);
      return text;
    }
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
      text[at - 1] = (c | 0x20) == 'z' ? static_cast<char>(c - 1) : static_cast<char>(c + 1);
      return text;
    }
  }
  return {};
}

std::vector<std::string> rewritings(const std::string& gold) {
  const auto [begin, end] = answer_range(gold);
  const std::string answer = gold.substr(begin, end - begin);
  const std::string before = gold.substr(0, begin), after = gold.substr(end);
  return {gold, gold + "\n", before + " " + answer + " " + after,
          before + "\n" + answer + "\n" + after};
}

}  // namespace zeroth
