#include "rewards/math/token_cursor.h"

#include <algorithm>

namespace zeroth::math {

std::string TokenCursor::raw_group() {
  std::string out;
  if (!at().is(Kind::kOpen, '{')) {
    if (done()) return out;
    out = at().text.empty() ? std::string(1, at().ch) : at().text;
    ++place_;
    return out;
  }
  int depth = 0;
  while (!done()) {
    const Token& t = at();
    ++place_;
    if (t.is(Kind::kOpen, '{')) {
      ++depth;
    } else if (t.is(Kind::kClose, '}')) {
      if (--depth == 0) return out;
    } else {
      out += t.text.empty() ? std::string(1, t.ch == 0 ? '?' : t.ch) : t.text;
    }
  }
  return out;
}

std::string TokenCursor::scripts() {
  std::string out;
  while (at().is(Kind::kOperator, '_') || at().is(Kind::kOperator, '\'')) {
    const bool prime = at().ch == '\'';
    ++place_;
    if (prime) {
      out += '\'';
      continue;
    }
    std::string subscript = raw_group();
    std::erase(subscript, '\\');
    out += "_" + subscript;
  }
  return out;
}

size_t TokenCursor::element_end(size_t from) const {
  int depth = 0;
  for (size_t i = from; i < tokens_.size(); ++i) {
    const Token& t = tokens_[i];
    if (t.is(Kind::kEnd)) return i;
    if (t.is(Kind::kOpen)) ++depth;
    if (t.is(Kind::kClose)) depth = std::max(0, depth - 1);
    if (depth == 0 && t.is(Kind::kSeparator)) return i;
  }
  return last_place();
}

}  // namespace zeroth::math
