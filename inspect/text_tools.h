// Regular expressions and differences of texts, bounded whatever the text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zeroth {

// A PCRE2 pattern, UTF-8, with limits on steps and memory, so that no text can hang or crash a
// search. Thread safe.
class SearchPattern {
 public:
  // Throws a usage Error with the place when the pattern does not compile.
  SearchPattern(const std::string& pattern, bool ignore_case);
  ~SearchPattern();
  SearchPattern(const SearchPattern&) = delete;
  SearchPattern& operator=(const SearchPattern&) = delete;
  // Byte ranges of the matches, at most `limit`; what costs too many steps counts as no match.
  std::vector<std::pair<size_t, size_t>> find_all(std::string_view text, size_t limit) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A piece of a comparison: in both texts, only in the first, or only in the second.
struct DiffPart {
  enum class Side { kBoth, kFirst, kSecond } side;
  std::string text;
};

// Word by word (runs of letters and digits, or single other characters); the shortest edit script
// (Myers 1986) while it stays under a bound on work, else the rest as one change. Adjacent parts
// differ in side.
std::vector<DiffPart> diff_words(std::string_view first, std::string_view second);

}  // namespace zeroth
