// What a sentence says about the answer it holds: where the answer ends and the remark begins,
// whether the sentence denies it, and whether it leaves a choice.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zeroth::math {

// The part of a sentence that states the answer: "42" of "42, because 7 fails", "42 (6 rows of 7)",
// "42 rather than 41", "E - the rate doubles". The whole sentence when no remark follows.
std::string_view answer_clause(std::string_view sentence);

// True when the words deny or bound what follows them: "is not", "cannot be", "less than",
// "anything but". `lead` is the text in front of a value, or a clause up to its first value.
bool denies(std::string_view lead);

// True when what follows an answer takes it back: ", but this is wrong", " is not correct",
// " (incorrect)".
bool takes_back(std::string_view rest);

// The values of "5, 6 or 7" when text[begin..] is the last of them and "or" joins it to one before
// it; else empty. In the order of the text.
std::vector<std::string> alternatives(std::string_view text, size_t begin, std::string_view last);

}  // namespace zeroth::math
