#include "tasks/parquet_rows.h"

#include <dlfcn.h>

#include <exception>
#include <filesystem>

#include "core/error.h"
#include "core/system.h"
#include "parquet/parquet_module.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

struct Module {
  const zeroth_parquet_table* table = nullptr;
  std::string why;  // there is none
};

// Loaded at the first call and kept: Arrow's threads do not like to be unloaded.
const Module& module() {
  static const Module loaded = [] {
    Module found;
    std::error_code error;
    const fs::path folder = system::program_file().parent_path();
    for (const fs::path& file : {folder / "zeroth_parquet.so",
                                 folder.parent_path() / "lib" / "zeroth" / "zeroth_parquet.so"}) {
      if (!fs::exists(file, error)) continue;
      void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
      if (library == nullptr) {
        found.why = ::dlerror();
        continue;
      }
      const auto table = reinterpret_cast<zeroth_parquet_fn>(::dlsym(library, ZEROTH_PARQUET));
      if (table != nullptr) {
        found.table = table();
        break;
      }
      found.why = file.string() + " is of another version";
    }
    return found;
  }();
  return loaded;
}

struct Caller {
  const std::function<bool(std::string_view)>& row;
  std::exception_ptr thrown;  // must not cross the module
};

int take_row(void* self, const char* text, size_t size) {
  auto& caller = *static_cast<Caller*>(self);
  try {
    return caller.row({text, size}) ? 0 : 1;
  } catch (...) {
    caller.thrown = std::current_exception();
    return 1;
  }
}

[[noreturn]] void fail_to_read(const std::string& path, const char* error) {
  fail("cannot read " + path + ": " + error, "is it a whole Parquet file?");
}

}  // namespace

bool has_parquet() { return module().table != nullptr; }

ParquetFile::ParquetFile(std::string path) : path_(std::move(path)) {
  if (!has_parquet()) {
    fail("cannot read " + path_ + ": no Parquet module" +
             (module().why.empty() ? "" : " (" + module().why + ")"),
         "scripts/setup --parquet builds it; or convert the file to JSON Lines");
  }
  char error[1024] = {};
  file_ = module().table->open(path_.c_str(), error, sizeof error);
  if (file_ == nullptr) fail_to_read(path_, error);
}

ParquetFile::~ParquetFile() { module().table->close(file_); }

int64_t ParquetFile::groups() const { return module().table->groups(file_); }
int64_t ParquetFile::rows(int64_t group) const { return module().table->rows(file_, group); }
int64_t ParquetFile::bytes(int64_t group) const { return module().table->bytes(file_, group); }

void ParquetFile::for_each_row(int64_t group,
                               const std::function<bool(std::string_view)>& row) const {
  Caller caller{row, {}};
  char error[1024] = {};
  const int status = module().table->read(file_, group, take_row, &caller, error, sizeof error);
  if (caller.thrown) std::rethrow_exception(caller.thrown);
  if (status != 0) fail_to_read(path_, error);
}

void for_each_parquet_row(const std::string& path,
                          const std::function<void(std::string_view, const std::string&)>& row) {
  const ParquetFile file(path);
  int64_t index = 0;
  for (int64_t group = 0; group < file.groups(); ++group) {
    file.for_each_row(group, [&](std::string_view text) {
      row(text, path + "[" + std::to_string(index++) + "]");
      return true;
    });
  }
}

}  // namespace zeroth
