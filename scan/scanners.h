// What a trace shows when it is read: reflection words, candidate answers and flips, loops,
// truncation, language switches, behaviours. The same scan runs online (metrics scan/..) and
// offline (the index).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "scan/candidates.h"
#include "scan/word_lists.h"

namespace zeroth {

struct Span {
  uint32_t begin = 0, end = 0;  // bytes of the completion
};

// One more number per trace, from code of your own. Add it to ScanOptions; its value is stored with
// each trace (searchable by its name) and averaged per step. Must be deterministic, thread safe and
// never throw on any text.
class Scanner {
 public:
  virtual ~Scanner() = default;
  virtual std::string name() const = 0;  // [a-z0-9-]+, unique
  virtual int version() const = 0;       // change it whenever values may change
  virtual double scan(const Problem& problem, const Sample& sample) const = 0;
};

struct SampleScan {
  bool correct = false;                      // the sample's own verdict has Reason::kCorrect
  bool failed = false;                       // its checker could not grade it: no verdict on it
  bool truncated = false;                    // ended by the length limit
  bool loop = false;                         // ends in a cycle, see find_loop
  uint32_t loop_begin = 0, loop_period = 0;  // tokens
  double repetition = 0;                     // share of 4-grams of tokens that occurred before
  int language_switches = 0;                 // changes of script between words
  std::vector<WordHit> hits;                 // all lists, whole words and parts of words
  std::vector<int> words;                    // [lists] whole words
  std::vector<int> substrings;               // [lists] whole or not
  std::vector<Span> markers;  // whole words of reflection lists, merged where they overlap
  std::vector<Candidate> candidates;
  std::vector<FlipAt> flip_list;
  std::array<int, kFlips> flips{};
  // A reflection marker after a wrong candidate and before (or just as) the next one turns out
  // right: from the marker to the end of the right candidate.
  std::vector<Span> ahas;
  int64_t first_correct = -1;  // bytes before the first right candidate; -1: none
  std::vector<double> extra;   // [own scanners]
  bool reflected() const { return !markers.empty(); }
};

struct ScanOptions {
  std::vector<WordList> word_lists;  // besides the built-in ones
  std::vector<std::shared_ptr<const Scanner>> scanners;
};

// Scans whole groups. Thread safe.
class SampleScanner {
 public:
  // `task` grades candidate answers and must outlive the scanner; may be null (then flips are
  // unknown and stay 0).
  explicit SampleScanner(const Task* task, ScanOptions options = {});
  std::vector<SampleScan> scan(const Group& group) const;
  const std::vector<WordList>& lists() const { return matcher_.lists(); }
  const std::vector<std::shared_ptr<const Scanner>>& scanners() const { return options_.scanners; }
  // Changes whenever a result could: built-in version, lists with versions, own scanners with
  // versions.
  std::string fingerprint() const;

 private:
  const Task* task_;
  ScanOptions options_;
  WordMatcher matcher_;
};

// The verdict that could not be given (Reason::kCheckerError or kBadGold) of a sample that no other
// verdict calls right; null when it was graded.
const Verdict* failed_grading(const Sample& sample);

// The cycle in which a token sequence ends: at least 4 rounds and 24 tokens of the same `period`.
// period 0: none. O(tokens).
struct Loop {
  uint32_t begin = 0, period = 0;
};
Loop find_loop(const std::vector<TokenId>& tokens);
double repeated_share(const std::vector<TokenId>& tokens);
int count_language_switches(std::string_view text);

// Byte offset in the text -> index of the token that holds it, given the tokens' bytes.
size_t token_at(const std::vector<uint32_t>& token_begins, uint32_t byte);

}  // namespace zeroth
