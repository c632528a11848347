// Template text to tokens, by the rules of Jinja's lexer with trim_blocks and lstrip_blocks set and
// the newline at the end of the text dropped: the settings of transformers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace zeroth::jinja {

enum class TokenKind {
  kData,           // text outside of marks
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kText,
  kInteger,
  kReal,
  kOperator,  // in Token::text
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  int line = 1;
  std::string text;  // of data, names, texts (unescaped) and operators
  Int integer = 0;
  double real = 0;
};

// The last token is kEnd. Throws TemplateError kSyntax naming `source`.
std::vector<Token> tokenize(std::string_view text, const std::string& source);

}  // namespace zeroth::jinja
