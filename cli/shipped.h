// Files that come with the program: models/ and configs/.
#pragma once

#include <string>

namespace zeroth {

// "models/base" as it is when it is there; else in the source tree or the package that the program
// belongs to: beside the program, in the folder above, or in share/zeroth of that. A path that is
// nowhere comes back as it is, so that whoever opens it names it.
std::string find_shipped(const std::string& path);

}  // namespace zeroth
