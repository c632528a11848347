// Finding the answer in a completion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/math_grader.h"

namespace zeroth::math {

struct Candidate {
  std::string text;    // as written, any bytes
  bool plain = false;  // stood outside mathematics: number conventions of prose
  bool prose =
      false;  // a sentence: words beside a number mean that the number alone may be the answer
  bool denied = false;  // the text says that this is not the answer: compared as words only
};

// The part of a completion that may hold the answer under `format`; false when the format is
// broken.
bool answer_region(std::string_view completion, AnswerFormat format, std::string_view* region);

// What stands for bytes that are no UTF-8, and for controls: U+FFFD.
constexpr std::string_view kBroken = "\xEF\xBF\xBD";
// The text with kBroken for every such byte; `*copy` holds it when there is one, else `text` itself
// is returned. Linear.
std::string_view without_broken_bytes(std::string_view text, std::string* copy);

// Candidates in order of preference: the first that parses is the answer, and nothing else is
// looked at. Empty: no answer. `gold` allows an unterminated last box and takes text without
// mark-up as one LaTeX formula. Linear in the length of `region`.
std::vector<Candidate> find_candidates(std::string_view region,
                                       const std::vector<MathTarget>& targets, bool gold);

// First match of one of the words as a whole word: after "answer", else at the start, else
// anywhere.
std::string find_string(std::string_view region, const std::vector<std::string>& words);

}  // namespace zeroth::math
