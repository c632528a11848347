// Tokens of an answer in LaTeX or plain notation.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace zeroth::math {

struct Token {
  enum class Kind : uint8_t {
    kNumber,    // text: digits with at most one '.', separators removed, exponent "e-3" kept, the
                // digits that recur in brackets ("0.1(6)")
    kLetter,    // text: name of a variable; upright when it came from \text or \mathrm
    kCommand,   // text: name without the backslash
    kWord,      // text: a run of letters that is no product of variables
    kOpen,      // ch: ( [ { and 'S' for \{, 'A' for \langle, 'F' floor, 'C' ceil, '|' left bar, 'N'
                // norm
    kClose,     // ch: ) ] } and 'S' 'A' 'F' 'C' '|' 'N'
    kBar,       // a bar of either side
    kOperator,  // ch: + - * / ^ _ ! ' : P (plus-minus) M (minus-plus)
    kRelation,  // ch: a RelationCode
    kSeparator,  // ch: , ; & (and) o (or) n (new row)
    kCell,       // & of a matrix
    kPercent,
    kDegree,
    kEnd
  } kind = Kind::kEnd;
  char ch = 0;
  bool space = false;    // white space or a spacing command stood before it
  bool upright = false;  // from \text{..}, \mathrm{..} or prose
  bool in_run = false;   // kLetter: the letter before it belongs to the same run of letters
  bool changes = false;  // kWord: the value beside it is not the value meant ("less than 5")
  std::string text;

  bool is(Kind k) const { return kind == k; }
  bool is(Kind k, char c) const { return kind == k && ch == c; }
};

struct LexOptions {
  bool plain = false;        // no LaTeX mark-up: "1000,99" is a decimal
  bool comma_groups = true;  // a comma may separate thousands
  int max_tokens = 2048;
};

// False when the source has more tokens than allowed. `source` is ASCII as made by to_ascii_latex.
// Linear.
bool tokenize(std::string_view source, const LexOptions& options, std::vector<Token>* tokens);

// Names of functions and Greek letters that plain text may spell without a backslash.
bool is_known_name(std::string_view name);
// Units of measure that may follow a number.
bool is_unit(std::string_view word);
// Further ones that are units only in upright letters: \mathrm{K}, \text{T}.
bool is_upright_unit(std::string_view word);

}  // namespace zeroth::math
