// Which variable a name means. Jinja decides that before anything runs (its idtracking.py): a name
// that a scope sets anywhere is that scope's own variable, which begins as a copy of the outer one.
#pragma once

#include <string>

#include "text/jinja/ast.h"

namespace zeroth::jinja {

// Fills the scopes and references of a tree. Throws TemplateError kSyntax naming `source`.
void place_variables(Tree& tree, const std::string& source);

}  // namespace zeroth::jinja
