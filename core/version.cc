#include "core/version.h"

namespace zeroth {

std::string version_string() { return ZEROTH_VERSION; }
std::string git_revision() { return ZEROTH_GIT_REVISION; }

}  // namespace zeroth
