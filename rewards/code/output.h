// Output of programs as contests compare it.
#pragma once

#include <string_view>

namespace zeroth {

// Words between blanks and line ends decide, one by one. A word is right when it is the same text;
// when a decimal number is expected ("0.50", "1e-3") and a number within 1e-6 of it, absolute or
// relative, was printed; or when a whole number is expected and the same number was printed with a
// point ("3.0"). Whole numbers are never rounded, and two texts of digits only are the same text or
// not ("007" is not "7").
bool same_output(std::string_view printed, std::string_view expected);

}  // namespace zeroth
