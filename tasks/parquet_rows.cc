#include "tasks/parquet_rows.h"

#include <dlfcn.h>

#include <exception>
#include <filesystem>

#include "core/error.h"
#include "parquet/parquet_module.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

struct Module {
  zeroth_parquet_rows_fn read = nullptr;
  std::string why;  // there is none
};

// Loaded at the first call and kept: Arrow's threads do not like to be unloaded.
const Module& module() {
  static const Module loaded = [] {
    Module found;
    std::error_code error;
    const fs::path folder = fs::read_symlink("/proc/self/exe", error).parent_path();
    for (const fs::path& file : {folder / "zeroth_parquet.so",
                                 folder.parent_path() / "lib" / "zeroth" / "zeroth_parquet.so"}) {
      if (!fs::exists(file, error)) continue;
      void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) {
        found.why = ::dlerror();
        continue;
      }
      found.read = reinterpret_cast<zeroth_parquet_rows_fn>(::dlsym(library, ZEROTH_PARQUET_ROWS));
      if (found.read != nullptr) break;
      found.why = file.string() + " is of another version";
    }
    return found;
  }();
  return loaded;
}

struct Caller {
  const std::string& path;
  const std::function<void(std::string_view, const std::string&)>& row;
  int64_t index = 0;
  std::exception_ptr thrown;  // must not cross the module
};

int take_row(void* self, const char* text, size_t size) {
  auto& caller = *static_cast<Caller*>(self);
  try {
    caller.row({text, size}, caller.path + "[" + std::to_string(caller.index++) + "]");
    return 0;
  } catch (...) {
    caller.thrown = std::current_exception();
    return 1;
  }
}

}  // namespace

bool has_parquet() { return module().read != nullptr; }

void for_each_parquet_row(const std::string& path,
                          const std::function<void(std::string_view, const std::string&)>& row) {
  if (!has_parquet()) {
    fail("cannot read " + path + ": no Parquet module" +
             (module().why.empty() ? "" : " (" + module().why + ")"),
         "scripts/setup --parquet builds it; or convert the file to JSON Lines");
  }
  Caller caller{path, row, 0, {}};
  char error[1024] = {};
  const int status = module().read(path.c_str(), take_row, &caller, error, sizeof error);
  if (caller.thrown) std::rethrow_exception(caller.thrown);
  if (status != 0) fail("cannot read " + path + ": " + error, "is it a whole Parquet file?");
}

}  // namespace zeroth
