// Finds stop strings in text that arrives token by token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

// The patterns and their failure links (Knuth, Morris and Pratt, "Fast pattern matching in
// strings", SIAM J. Comput. 6(2), 1977), shared by all sequences of a request. Immutable.
class StopStrings {
 public:
  // Empty strings are a usage Error (they would stop everything); duplicates are dropped.
  explicit StopStrings(const std::vector<std::string>& strings);
  bool empty() const { return patterns_.empty(); }

 private:
  friend class StopMatcher;
  struct Pattern {
    std::string text;
    std::vector<int32_t> link;  // [text + 1] longest proper border of each prefix
  };
  std::vector<Pattern> patterns_;
};

// The state of one sequence. Bytes are seen once each, so a match is found however the text is cut
// into tokens, and the same text always stops at the same byte.
class StopMatcher {
 public:
  // `strings` must outlive the matcher.
  explicit StopMatcher(const StopStrings& strings);

  // Reads the next piece of text. Returns true when a stop string ends inside it: the one that ends
  // first, and of those the longest. After that the matcher must not be fed again.
  bool feed(std::string_view bytes);

  // After a match: where the stop string begins and ends, in bytes since the first feed().
  int64_t match_begin() const { return begin_; }
  int64_t match_end() const { return seen_; }

 private:
  const StopStrings* strings_;
  std::vector<int32_t> matched_;  // per pattern: length of its longest prefix that ends here
  int64_t seen_ = 0;
  int64_t begin_ = -1;
};

}  // namespace zeroth
