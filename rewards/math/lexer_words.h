// The vocabularies of the lexer.
#pragma once

#include <string_view>

#include "rewards/math/lexer.h"

namespace zeroth::math {

// LaTeX commands (without backslash) that only lay out; that make white space; whose argument
// vanishes with them; whose argument is prose; that only change the font of a formula.
bool is_layout_command(std::string_view name);
bool is_space_command(std::string_view name);
bool drops_argument(std::string_view name);
bool is_text_command(std::string_view name);
bool is_font_command(std::string_view name);
// Runs of two or three letters that are words and no products of variables.
bool is_short_word(std::string_view run);
// The RelationCode of a command, ':' for \colon, 0 for none.
char relation_code(std::string_view command);

struct NamedToken {
  Token::Kind kind;
  char ch;
};
// The operator, bracket or separator that a command stands for; kEnd for none.
NamedToken named_command(std::string_view command);

// Whether the source, text groups aside, is a phrase and no product of letters.
bool looks_like_prose(std::string_view source);

}  // namespace zeroth::math
