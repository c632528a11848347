// Rewritings of a token list before it is parsed: notations that say the same in other signs.
#pragma once

#include <string>
#include <vector>

#include "rewards/math/lexer.h"

namespace zeroth::math {

// Signs: cells of aligned rows, "]2,5[", "AB^{\prime}", "1.5 x 10^3", "12{:}30".
// Words: "negative 5", "half of 5", "5 squared", "5 out of 6", "two thirds", "101 base 2" become
// the signs that they stand for; words that bound or deny the value beside them ("less than 5") are
// marked with Token::changes. The list ends with kEnd, before and after. Linear.
void rewrite_tokens(std::vector<Token>* tokens);

// The value of "three" or "forty-two" in lower case, -1 for any other text.
int number_of_word(const std::string& word);

}  // namespace zeroth::math
