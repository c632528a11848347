// The part of an answer that states its number: "15" of "15 (not 14)", "The answer is 15, since 3
// trays are full.", "15 = 5*3".
#pragma once

#include <string_view>

namespace zeroth {

// What a last \boxed{} holds, else the sentence behind the last "answer is" or "answer:" without
// its remark, else a short text without its remark, else the text itself. Empty when the text
// denies what it states ("not 15") or takes it back ("15, which is wrong"). The view points into
// `text`. Linear. Thread safe.
std::string_view final_statement(std::string_view text);

}  // namespace zeroth
