#include "rewards/math/rewrite.h"

#include <algorithm>
#include <array>

#include "rewards/math/expr.h"
#include "rewards/math/node.h"
#include "rewards/math/rewrite_words.h"

namespace zeroth::math {

namespace {

using Kind = Token::Kind;
using Tokens = std::vector<Token>;

// In rows that are aligned at their signs "&" separates nothing.
void drop_alignment(Tokens* tokens) {
  static constexpr auto kAligned = std::to_array<std::string_view>(
      {"aligned", "align", "split", "gathered", "gather", "eqnarray", "alignedat", "flalign"});
  Tokens out;
  bool aligned = false;
  for (size_t i = 0; i < tokens->size(); ++i) {
    const Token& t = (*tokens)[i];
    if (t.is(Kind::kCommand) && t.text == "begin" && i + 2 < tokens->size())
      aligned =
          std::find(kAligned.begin(), kAligned.end(), (*tokens)[i + 2].text) != kAligned.end();
    if (t.is(Kind::kCommand) && t.text == "end") aligned = false;
    if (aligned && t.is(Kind::kCell)) continue;
    out.push_back(t);
  }
  *tokens = std::move(out);
}

// "]2,5[": brackets that turn their backs leave their end out. Only where reading them as usual
// fails, and a separator stands inside.
void turn_brackets(Tokens* tokens) {
  std::vector<size_t> squares;
  int round = 0;
  for (size_t i = 0; i < tokens->size(); ++i) {
    const Token& t = (*tokens)[i];
    round += t.is(Kind::kOpen, '(');
    round -= t.is(Kind::kClose, ')');
    const bool square = t.is(Kind::kOpen, '[') || t.is(Kind::kClose, ']');
    if (square && round != 0) return;
    if (square) squares.push_back(i);
  }
  if (squares.size() % 2 != 0) return;
  bool turned = false;
  for (size_t k = 0; k < squares.size(); k += 2) {
    const bool separated = std::any_of(
        tokens->begin() + static_cast<std::ptrdiff_t>(squares[k]),
        tokens->begin() + static_cast<std::ptrdiff_t>(squares[k + 1]),
        [](const Token& t) { return t.is(Kind::kSeparator) && (t.ch == ',' || t.ch == ';'); });
    if (!separated) return;
    turned |= !(*tokens)[squares[k]].is(Kind::kOpen) || !(*tokens)[squares[k + 1]].is(Kind::kClose);
  }
  if (!turned) return;
  for (size_t k = 0; k < squares.size(); ++k) {
    Token& t = (*tokens)[squares[k]];
    const bool opens = k % 2 == 0;
    const bool outwards = opens != t.is(Kind::kOpen);
    t.kind = opens ? Kind::kOpen : Kind::kClose;
    t.ch = opens ? (outwards ? '(' : '[') : (outwards ? ')' : ']');
  }
}

// "AB^{\prime}" is AB', "12{:}30" is 12:30, "1.5 x 10^3" a product.
void join_signs(Tokens* tokens) {
  Tokens out;
  const Tokens& in = *tokens;
  const auto at = [&](size_t i) -> const Token& { return i < in.size() ? in[i] : in.back(); };
  for (size_t i = 0; i < in.size(); ++i) {
    const Token& t = in[i];
    if (t.is(Kind::kOperator, '^') && at(i + 1).is(Kind::kOperator, '\'')) continue;
    if (t.is(Kind::kOperator, '^') && at(i + 1).is(Kind::kOpen, '{') &&
        at(i + 2).is(Kind::kOperator, '\'')) {
      size_t end = i + 2;
      while (at(end).is(Kind::kOperator, '\'')) ++end;
      if (at(end).is(Kind::kClose, '}')) {
        out.insert(out.end(), in.begin() + static_cast<std::ptrdiff_t>(i) + 2,
                   in.begin() + static_cast<std::ptrdiff_t>(end));
        i = end;
        continue;
      }
    }
    const bool script = !out.empty() && (out.back().is(Kind::kOperator, '^') ||
                                         out.back().is(Kind::kOperator, '_'));
    if (t.is(Kind::kOpen, '{') && !script && at(i + 2).is(Kind::kClose, '}') &&
        (at(i + 1).is(Kind::kOperator) || at(i + 1).is(Kind::kRelation))) {
      out.push_back(at(i + 1));
      i += 2;
      continue;
    }
    // "x = 2 \\quad x = 3": the name comes again, and a blank before it.
    const bool again = t.is(Kind::kLetter) && t.space && at(i + 1).is(Kind::kRelation, kEq) &&
                       i >= 3 && in[0].is(Kind::kLetter) && in[0].text == t.text &&
                       in[1].is(Kind::kRelation, kEq) && !out.back().is(Kind::kSeparator) &&
                       !out.back().is(Kind::kRelation) && !out.back().is(Kind::kOperator);
    if (again) {
      Token comma;
      comma.kind = Kind::kSeparator;
      comma.ch = ',';
      out.push_back(std::move(comma));
    }
    const bool cross = t.is(Kind::kLetter) && (t.text == "x" || t.text == "X") && !out.empty() &&
                       out.back().is(Kind::kNumber) && at(i + 1).is(Kind::kNumber) &&
                       at(i + 1).text == "10" && at(i + 2).is(Kind::kOperator, '^');
    out.push_back(t);
    if (cross) {
      out.back().kind = Kind::kOperator;
      out.back().ch = '*';
      out.back().text.clear();
    }
  }
  *tokens = std::move(out);
}

}  // namespace

void rewrite_tokens(std::vector<Token>* tokens) {
  bool words = false, cells = false, brackets = false, signs = false;
  const Tokens& in = *tokens;
  for (size_t i = 0; i < in.size(); ++i) {
    const Token& t = in[i];
    switch (t.kind) {
      case Kind::kWord:
        words = true;
        break;
      case Kind::kCell:
        cells = true;
        break;
      case Kind::kOpen:
        brackets |= t.ch == '[';
        signs |= t.ch == '{' && i + 2 < in.size() && in[i + 2].is(Kind::kClose, '}') &&
                 (in[i + 1].is(Kind::kOperator) || in[i + 1].is(Kind::kRelation));
        break;
      case Kind::kClose:
        brackets |= t.ch == ']';
        break;
      case Kind::kOperator:
        signs |= t.ch == '\'' && i > 0;
        break;
      case Kind::kNumber:
        signs |= i + 2 < in.size() && in[i + 1].is(Kind::kLetter) &&
                 (in[i + 2].is(Kind::kNumber) || (i >= 2 && in[i + 2].is(Kind::kRelation)));
        break;
      default:
        break;
    }
  }
  if (cells) drop_alignment(tokens);
  if (brackets) turn_brackets(tokens);
  if (signs) join_signs(tokens);
  if (words) rewrite_words(tokens);
}

}  // namespace zeroth::math
