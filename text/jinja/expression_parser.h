// The part of the parser that reads expressions.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/ast.h"
#include "text/jinja/error.h"
#include "text/jinja/lexer.h"

namespace zeroth::jinja {

class ExpressionParser {
 public:
  ExpressionParser(std::vector<Token> tokens, std::string source)
      : tokens_(std::move(tokens)), source_(std::move(source)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& look() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token next();
  bool at_operator(std::string_view text) const;
  bool at_name(std::string_view name) const;
  bool skip_operator(std::string_view text);
  bool skip_name(std::string_view name);
  void expect_operator(const char* text);
  std::string expect_name();
  void expect(TokenKind kind);
  [[noreturn]] void fail_syntax(const std::string& reason) const;
  // To read a part of the tokens again.
  size_t position() const { return at_; }
  void rewind(size_t position) { at_ = position; }
  [[noreturn]] void fail_with(Fault fault, const std::string& reason) const;

  ExprPtr expression(bool conditional = true);
  // One expression, or several with commas between them as a tuple. `simple`: names and literals
  // only, with `namespaced` also name.attribute. The tuple may end before the name `end`.
  struct TupleForm {
    bool simple = false, conditional = true, parentheses = false, namespaced = false;
    const char* end = nullptr;
  };
  ExprPtr tuple(const TupleForm& form);
  // "| name(..)" any number of times on `subject` (may be null); `inline_first`: the first without
  // its bar.
  ExprPtr filters(ExprPtr subject, bool inline_first = false);
  // What set, for and with assign to; throws for anything else.
  ExprPtr target(const TupleForm& form);

 protected:
  class Deeper;  // counts nesting

 private:
  ExprPtr conditional();
  ExprPtr logical(bool either);
  ExprPtr negation();
  ExprPtr comparison();
  ExprPtr sum();
  ExprPtr concatenation();
  ExprPtr product();
  ExprPtr power();
  ExprPtr unary(bool with_filters);
  ExprPtr primary(bool namespaced = false);
  ExprPtr list();
  ExprPtr dict();
  ExprPtr postfix(ExprPtr node);
  ExprPtr filters_and_tests(ExprPtr node);
  ExprPtr subscript(ExprPtr node);
  ExprPtr subscribed();
  ExprPtr call(ExprPtr node);
  ExprPtr test(ExprPtr node);
  CallArguments arguments();
  ExprPtr make(ExprKind kind, int line, std::vector<ExprPtr> items = {}) const;
  void grow(Expr& node) const;  // sets its height

  std::vector<Token> tokens_;
  std::string source_;
  size_t at_ = 0;
  int depth_ = 0;
};

}  // namespace zeroth::jinja
