// Tokens to a tree, by the grammar of Jinja 3.1 with loop controls and the generation tag of
// transformers.
#pragma once

#include <string>
#include <string_view>

#include "text/jinja/ast.h"

namespace zeroth::jinja {

// Throws TemplateError naming `source`: kSyntax for what the reference refuses too, kUnsupported
// for what it would take, kLimit for nesting that could not be walked in bounded stack.
Tree parse_template(std::string_view text, const std::string& source);

}  // namespace zeroth::jinja
