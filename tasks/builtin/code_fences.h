// Fenced blocks of a text, as Markdown has them and as models write them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

struct FencedBlock {
  enum class Language { kNone, kPython, kCpp, kOther } language = Language::kNone;
  std::string text;    // its lines without the fence's indentation
  bool fenced = true;  // false: text between blocks
  bool closed = false;
};

// All blocks and the texts between them, in order; nothing is lost but the fences. A fence is three
// or more of ` or ~, anywhere in a line when it opens (what follows is the language), at the start
// or end of a line when it closes. Inside an open triple-quoted string of Python a fence closes
// nothing when the string and the fence end later.
std::vector<FencedBlock> fenced_blocks(std::string_view text);

}  // namespace zeroth
