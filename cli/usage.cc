#include "cli/usage.h"

#include <algorithm>

namespace zeroth {

bool asks_for_help(const Args& args) {
  const auto end = std::find(args.begin(), args.end(), "--");
  return std::any_of(args.begin(), end,
                     [](const std::string& arg) { return arg == "--help" || arg == "-h"; });
}

}  // namespace zeroth
