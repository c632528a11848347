// Pieces of the extraction: braces, formulas, anchors, numbers in prose.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/extract.h"

namespace zeroth::math {

// A formula between $..$, $$..$$, \(..\) or \[..\].
struct Formula {
  size_t begin = 0, end = 0;  // with delimiters
  std::string_view content;
};

// Position of the brace that closes the one at `open`, npos when there is none. Escaped braces do
// not count.
size_t matching_brace(std::string_view text, size_t open);
std::vector<Formula> find_formulas(std::string_view text);
// Formulas ending with number `last`, joined with those before it that only "," "and" "or"
// separate, as one list.
std::string joined_formulas(std::string_view text, const std::vector<Formula>& formulas,
                            size_t last);
// The last formula that is no part of a clause about the one before: "$f(x) = 1$ for all $x$".
size_t last_main_formula(std::string_view text, const std::vector<Formula>& formulas);
bool only_separators_outside(std::string_view text, const std::vector<Formula>& formulas);
std::string without_delimiters(std::string_view text);

// anchors.cc: after "final answer is", "answer:", "answer is", "#### ", "the option is": the
// formula or the words there.
void anchored_candidates(std::string_view text, const std::vector<Formula>& formulas, bool expr,
                         std::vector<Candidate>* out);
// The last line of its own that says "Answer: .." or "#### ..": its place behind the mark, npos
// without.
size_t answer_line(std::string_view text);
// The candidates of a text in prose: its clause as a whole when short, the number it begins with,
// its last number; "5 or 6" as a list. Nothing when no number is in it.
void prose_numbers(std::string_view clause, std::vector<Candidate>* out);
size_t find_last_ignoring_case(std::string_view text, std::string_view lower_word,
                               size_t from = std::string_view::npos);
// The last arithmetic expression in prose, and the last number in it; *begin is its place.
std::vector<std::string> last_numbers(std::string_view text, size_t* begin);
// The same as candidates: a list when "or" joins it to numbers before it, and no number when the
// words in front of it deny it.
void push_last_number(std::string_view text, std::vector<Candidate>* out);
std::string lower_case(std::string_view text);  // ASCII letters only
int count_words(std::string_view text);
int count_digits(std::string_view text);

}  // namespace zeroth::math
