// The lexer's state and steps; lexer.cc reads numbers, letters and signs, lexer_commands.cc
// commands and their groups.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rewards/math/lexer.h"
#include "rewards/math/lexer_words.h"

namespace zeroth::math {

inline bool is_digit(char c) { return c >= '0' && c <= '9'; }
inline bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool is_blank(char c) { return c == ' ' || c == '\n' || c == '\t'; }

class Lexer {
 public:
  Lexer(std::string_view source, const LexOptions& options, std::vector<Token>* tokens)
      : source_(source), options_(options), tokens_(*tokens) {
    // Outside tables a doubled backslash before a letter is a doubled escape.
    doubled_ = source.find("begin{") == std::string_view::npos;
    prose_ = looks_like_prose(source);
  }
  // False when there are more tokens than allowed.
  bool run();

 private:
  using Kind = Token::Kind;

  char peek(size_t ahead = 0) const {
    return pos_ + ahead < source_.size() ? source_[pos_ + ahead] : '\0';
  }
  bool rest_starts(std::string_view prefix) const {
    return source_.substr(pos_).starts_with(prefix);
  }
  Token& push(Kind kind, char ch = 0, std::string text = {}) {
    Token token;
    token.kind = kind;
    token.ch = ch;
    token.space = space_;
    token.upright = text_depth_ > 0 || prose_;
    token.text = std::move(text);
    space_ = false;
    tokens_.push_back(std::move(token));
    return tokens_.back();
  }
  bool last_is(Kind kind) const { return !tokens_.empty() && tokens_.back().kind == kind; }
  void step();
  void foreign();
  std::string foreign_run();
  void punctuation(char c);
  void number();
  bool in_fraction() const;
  size_t group_separator() const;
  size_t braced_mark() const;
  void recurring(std::string* digits);
  bool recurring_dots(std::string* digits);
  void row_height();
  void letters();
  bool conjunction(std::string_view run);
  bool glued_conjunction(std::string_view run, size_t begin);
  bool spelled_command(std::string_view run);
  void word_of_prose(std::string_view run);
  bool at_end_of_clause() const;
  bool half_day(std::string_view run);
  void push_letters(std::string_view run);
  bool split_function(std::string_view run, size_t begin);
  void skip_blanks();
  std::string_view group();
  void command();
  bool negated_relation();
  void named_token(std::string_view name);
  void control_symbol(char next);
  static std::string_view trim(std::string_view text);
  void text_group(std::string_view command_name);
  void lex_inner(std::string_view inner, std::string_view content);

  std::string_view source_;
  LexOptions options_;
  std::vector<Token>& tokens_;
  size_t pos_ = 0;
  int parens_ = 0;
  int text_depth_ = 0;
  int depth_ = 0;
  bool space_ = false;
  bool doubled_ = false;
  bool prose_ = false;
  bool inner_conjunction_ = false;
};

}  // namespace zeroth::math
