// A place in the tokens of an answer, and what can be read there without a grammar.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/lexer.h"

namespace zeroth::math {

class TokenCursor {
 public:
  using Kind = Token::Kind;

  // `tokens` end with kEnd, and outlive the cursor.
  explicit TokenCursor(const std::vector<Token>& tokens) : tokens_(tokens) {}

  // The token `ahead` of the cursor; kEnd behind the last one.
  const Token& at(size_t ahead = 0) const { return token(place_ + ahead); }
  const Token& token(size_t place) const {
    return place < tokens_.size() ? tokens_[place] : tokens_.back();
  }
  // The token `back` places before the cursor, a kEnd before the first one.
  const Token& before(size_t back = 1) const {
    return back <= place_ ? tokens_[place_ - back] : tokens_.back();
  }
  bool done() const { return at().is(Kind::kEnd); }
  bool at_command(std::string_view name, size_t ahead = 0) const {
    return at(ahead).is(Kind::kCommand) && at(ahead).text == name;
  }

  size_t place() const { return place_; }
  size_t last_place() const { return tokens_.size() - 1; }
  void move_to(size_t place) { place_ = place; }
  void advance(size_t count = 1) { place_ += count; }
  // Passes the token when it is the one asked for.
  bool accept(Kind kind, char ch) {
    if (!at().is(kind, ch)) return false;
    ++place_;
    return true;
  }

  // The texts of the tokens of one group {..}, or of one token, glued together; passes it.
  std::string raw_group();
  // The primes and subscripts behind a name, as part of the name: "'", "_1"; passes them.
  std::string scripts();
  // The end of the element that begins at `from`: the next separator outside brackets.
  size_t element_end(size_t from) const;

 private:
  const std::vector<Token>& tokens_;
  size_t place_ = 0;
};

}  // namespace zeroth::math
