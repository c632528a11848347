// Answers to multiple-choice questions: a letter with its text, numbers of statements.
#pragma once

#include <string_view>
#include <vector>

namespace zeroth::math {

// The letter of a choice that is written out with its text: "(B) 42", "B. 42", "\textbf{(B)} 42";
// 0 when there is none, or when a second choice follows.
char spelled_choice(std::string_view raw);

// The value behind the mark of a choice, "12" of "(B) 12" and "\textbf{(B) } 12"; empty without.
std::string_view behind_choice(std::string_view raw);

// The numbers of statements, sorted: circled figures, or figures each in brackets: "(1)(3)". With
// `gold` at least one must be so marked; without, bare figures count too ("1, 3"). Empty for
// anything else.
std::vector<int> statement_numbers(std::string_view text, bool gold);

}  // namespace zeroth::math
