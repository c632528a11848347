// A library that is there on some machines, loaded when it is asked for.
#pragma once

#include <string>

namespace zeroth {

// Loaded for the rest of the process: such libraries start threads that outlive their unloading.
class SharedLibrary {
 public:
  // The first of the files (space between them) that the system's loader finds. Throws Error with
  // the loader's words, and `fix`, when it finds none. `global`: what it loads itself sees its
  // symbols.
  SharedLibrary(const std::string& files, const std::string& fix, bool global = false);

  // The address of a symbol. Throws Error naming it when the library has none of that name.
  void* symbol(const char* name) const;
  template <class F>
  void find(F*& function, const char* name) const {
    function = reinterpret_cast<F*>(symbol(name));
  }

 private:
  std::string file_;
  void* handle_ = nullptr;
};

}  // namespace zeroth
