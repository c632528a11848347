// What every subcommand does with --help.
#pragma once

#include <cstdio>
#include <string>

#include "cli/commands.h"
#include "core/config.h"

namespace zeroth {

// --help or -h is among the arguments, before any "--".
bool asks_for_help(const Args& args);

// Prints "usage: " and the options with their defaults; the exit code of --help.
template <class Options>
int print_usage(const std::string& usage, Options& defaults) {
  std::printf("usage: %s\n\n%s", usage.c_str(), config_help(defaults).c_str());
  return 0;
}

}  // namespace zeroth
