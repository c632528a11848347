// Stands for the zeroth binary: `host task serve FILE.so`.
#include <cstdio>
#include <exception>

#include "tasks/plugins/so_host.h"

int main(int argc, char** argv) {
  try {
    return argc == 4 ? zeroth::serve_library(argv[3]) : 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
