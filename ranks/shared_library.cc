#include "ranks/shared_library.h"

#include <dlfcn.h>

#include <sstream>

#include "core/error.h"

namespace zeroth {

SharedLibrary::SharedLibrary(const std::string& files, const std::string& fix, bool global) {
  std::istringstream list(files);
  std::string why;
  while (handle_ == nullptr && list >> file_) {
    handle_ = ::dlopen(file_.c_str(), RTLD_NOW | (global ? RTLD_GLOBAL : RTLD_LOCAL));
    if (handle_ == nullptr && why.empty()) why = ::dlerror();
  }
  if (handle_ == nullptr) fail("cannot load " + files + ": " + why, fix);
}

void* SharedLibrary::symbol(const char* name) const {
  void* address = ::dlsym(handle_, name);
  if (address == nullptr)
    fail(file_ + " has no " + name, "it is another library of that name, or another version");
  return address;
}

}  // namespace zeroth
