// The program in a response.
#pragma once

#include <string>
#include <string_view>

#include "rewards/format.h"

namespace zeroth {

// What the program has to be.
struct ProgramShape {
  std::string entry;   // name of the function or class under test, empty when unknown
  std::string prompt;  // code that the problem gives; a response may be what follows it (HumanEval)
  bool program = false;             // reads standard input and writes standard output
  std::string language = "python";  // or "cpp"
};

// The program of a response, empty when it has none. Where it is looked for: in the one answer
// block, else after the thinking; nowhere when the thinking never ends or several answers are
// given. Fenced blocks (``` and ~~~, indented, never closed, inside docstrings) are told apart by
// their language and by what they do: the last one that defines `entry`, or that reads and writes,
// is the answer; blocks of usage, output or shell commands beside it are not. Helpers of earlier
// blocks that it uses are put before it. Without a fence the text is the program, prose around it
// left out. A body alone is put behind `prompt`. Linear time, total.
std::string extract_program(std::string_view completion, const FormatRules& rules,
                            const ProgramShape& shape);

}  // namespace zeroth
