// Named, versioned lists of words whose frequency the field reads as a sign of reflection or of a
// reasoning behaviour.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace zeroth {

struct WordList {
  std::string name;
  int version = 1;
  std::string source;              // where the list comes from
  bool reflection = false;         // its hits are reflection markers (aha detection)
  std::vector<std::string> words;  // lower-case ASCII; a space matches one blank exactly
};

// The lists that every run is scanned with, in this order:
//   r1-nature   DeepSeek-R1 (Nature 2025), Extended Data Fig. 1
//   oat-zero    oat-zero, self-reflection keywords of its evaluation
//   drgrpo      Dr. GRPO (understand-r1-zero), keyword list of its analysis
//   verification, backtracking, subgoal, backward-chaining
//               the behaviours of Gandhi et al. (arXiv 2503.01307), read by pattern; the words are
//               ours
const std::vector<WordList>& built_in_word_lists();

// Reads {"name", "version", "words": [..], "reflection": bool} from a JSON file. Throws a usage
// Error that names the file and the field when it is malformed, or when the name is a built-in one.
WordList read_word_list(const std::filesystem::path& path);

struct WordHit {
  uint32_t begin = 0, end = 0;  // bytes
  uint16_t list = 0;
  bool whole = false;  // stands between word boundaries (as \b of Unicode regular expressions)
};

// Finds the words of several lists in one pass. Immutable, thread safe.
class WordMatcher {
 public:
  explicit WordMatcher(std::vector<WordList> lists);
  const std::vector<WordList>& lists() const { return lists_; }
  // Every occurrence of every word, also inside longer words (`whole` tells), except in fenced code
  // blocks; a word that stands in two lists gives two hits. Ascending by begin. Upper and lower
  // case ASCII are the same.
  std::vector<WordHit> find(std::string_view text) const;

 private:
  struct Entry {
    std::string word;
    uint16_t list;
  };
  std::vector<WordList> lists_;
  std::array<std::vector<Entry>, 256> by_first_;
};

}  // namespace zeroth
