// Words beside values as signs; see rewrite.h.
#pragma once

#include <vector>

#include "rewards/math/lexer.h"

namespace zeroth::math {

void rewrite_words(std::vector<Token>* tokens);

}  // namespace zeroth::math
