#include "rl/run_folder.h"

#include <algorithm>

#include "core/error.h"
#include "core/files.h"
#include "core/version.h"
#include "kernels/ops.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr char kProvenance[] = "provenance";

void compare(const Json& a, const Json& b, const std::string& prefix,
             const std::vector<std::string>& free, std::vector<std::string>& names) {
  for (const auto& [key, value] : a.items()) {
    const std::string name = prefix + key;
    if (std::find(free.begin(), free.end(), name) != free.end()) continue;
    if (!b.contains(key)) {
      names.push_back(name);
    } else if (value.is_object() && b.at(key).is_object()) {
      compare(value, b.at(key), name + ".", free, names);
    } else if (value != b.at(key)) {
      names.push_back(name);
    }
  }
}

}  // namespace

const fs::path& make_run_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    fail("cannot create the run folder " + folder.string() + ": " + error.message(),
         "choose another folder with --out");
  }
  return folder;
}

bool holds_run(const fs::path& folder) { return fs::exists(folder / "config.json"); }

void refuse_old_run(const fs::path& folder, const std::string& command) {
  if (!holds_run(folder)) return;
  fail(folder.string() + " already holds a run", "go on with zeroth " + command + " --resume " +
                                                     folder.string() +
                                                     ", or choose another folder with --out");
}

void write_run_config(const fs::path& folder, Json config) {
  config[kProvenance] = {{"version", version_string()},
                         {"git", git_revision()},
                         {"numeric_contract", kernels::contract_hash()},
                         {"isa", kernels::isa()}};
  write_file_atomic(folder / "config.json", config.dump(2) + "\n");
}

Json read_config_file(const fs::path& file) {
  Json json = read_json_file(file);
  if (json.is_object()) json.erase(kProvenance);
  return json;
}

void refuse_other_run(const fs::path& folder, const Json& wanted,
                      const std::vector<std::string>& free) {
  std::vector<std::string> names;
  // Both directions: a free-form option may be missing on either side.
  const Json recorded = read_config_file(folder / "config.json");
  compare(recorded, wanted, "", free, names);
  std::vector<std::string> added;
  compare(wanted, recorded, "", free, added);
  for (const std::string& name : added) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  if (names.empty()) return;
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  fail_usage(
      folder.string() + " was started with another value of: " + list,
      "resume without changing it, or start a new run from its last checkpoint: --set model=" +
          (folder / "checkpoints" / "latest").string() + " --out NEW");
}

}  // namespace zeroth
