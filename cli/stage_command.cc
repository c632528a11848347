#include "cli/stage_command.h"

#include <filesystem>

#include "rl/run_folder.h"
#include "rl/run_origin.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

// Where configs of stages name files.
const char* const kFileFields[] = {"/model",       "/model_config",  "/tokenizer",
                                   "/data/path",   "/data/held_out", "/data/chat_template",
                                   "/lora/adapter"};

// Of a pattern of files or a folder#split the folder.
std::string existing_part(const std::string& path) {
  const size_t special = path.find_first_of("*?[#");
  if (special == std::string::npos) return path;
  return path[special] == '#' ? path.substr(0, special)
                              : fs::path(path.substr(0, special)).parent_path().string();
}

}  // namespace

std::string run_to_resume(const std::string& folder, const std::string& command) {
  refuse_other_command(folder, command);
  if (!holds_run(folder)) return folder;
  const Json config = read_config_file(fs::path(folder) / "config.json");
  std::vector<std::string> files;
  for (const char* field : kFileFields) {
    const Json::json_pointer at(field);
    if (config.is_object() && config.contains(at) && config.at(at).is_string())
      files.push_back(existing_part(config.at(at).get<std::string>()));
  }
  const std::string absolute = fs::absolute(folder).string();
  return enter_run_directory(folder, files) ? absolute : folder;
}

}  // namespace zeroth
