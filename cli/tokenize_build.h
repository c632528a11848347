#pragma once

#include "cli/commands.h"

namespace zeroth {

// `zeroth tokenize build`; arguments after the word build.
int run_tokenize_build(const Args& args);

}  // namespace zeroth
