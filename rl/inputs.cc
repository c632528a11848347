#include "rl/inputs.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/sha256.h"
#include "tasks/row_files.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

bool is_system_path(const std::string& path) {
  for (const char* root : {"/usr/", "/bin/", "/sbin/", "/lib/", "/lib64/", "/proc/", "/dev/"}) {
    if (path.starts_with(root)) return true;
  }
  return false;
}

void add_file(const std::string& text, std::set<std::string>& files) {
  constexpr size_t kLongestPath = 4096;
  if (text.empty() || text.size() > kLongestPath || is_system_path(text)) return;
  std::error_code error;
  if (fs::is_regular_file(text, error)) files.insert(text);
}

void add_text(const std::string& text, std::set<std::string>& files) {
  add_file(text, files);
  // Words of a command, and values of NAME:key=value,key=value.
  for (const char* separators : {" \t\n", " \t\n,=:"}) {
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find_first_of(separators, at), text.size());
      add_file(text.substr(at, end - at), files);
      at = end + 1;
    }
  }
}

// The files of a data set that is named as a folder or by a pattern.
void add_rows(const std::string& text, std::set<std::string>& files) {
  std::error_code error;
  for (const std::string& file : row_files_if_any(text)) {
    if (!is_system_path(file) && fs::is_regular_file(file, error)) files.insert(file);
  }
}

bool names_rows(const std::string& key) {
  return key == "path" || key == "data" || key == "held_out_path" || key == "held_out_data";
}

void walk(const Json& json, std::set<std::string>& files) {
  if (json.is_string()) add_text(json.get<std::string>(), files);
  if (!json.is_structured()) return;
  for (const auto& [key, value] : json.items()) {
    if (value.is_string() && names_rows(key)) add_rows(value.get<std::string>(), files);
    walk(value, files);
  }
}

std::string brief(const Json& file) {
  if (!file.is_object()) return "missing";
  return "sha256 " + file.value("sha256", std::string()).substr(0, 12) + ", " +
         std::to_string(file.value("bytes", uint64_t{0})) + " bytes";
}

}  // namespace

std::vector<std::string> named_files(const Json& options) {
  std::set<std::string> files;
  walk(options, files);
  return {files.begin(), files.end()};
}

Json fingerprint_inputs(const Json& options, const Task& task, const TokenizerFiles& tokenizer) {
  Json files = Json::object();
  for (const std::string& path : named_files(options))
    files[path] = {{"bytes", fs::file_size(path)}, {"sha256", sha256_file(path)}};
  Sha256 hash;
  for (const auto& [name, content] : tokenizer) {
    if (name == "config.json") continue;  // a checkpoint's is its policy's
    hash.update(name + " " + std::to_string(content.size()) + "\n");
    hash.update(content);
  }
  return {{"files", files},
          {"train", task.size(Split::kTrain)},
          {"held_out", task.size(Split::kHeldOut)},
          {"tokenizer", hash.hex()}};
}

std::vector<std::string> changed_inputs(const Json& recorded, const Json& now) {
  std::vector<std::string> lines;
  if (!recorded.is_object() || !now.is_object()) return lines;
  const auto differ = [&](const std::string& what, const Json& before, const Json& after,
                          const std::string& text) {
    if (before != after) lines.push_back(what + ": " + text);
  };
  const Json none = Json::object();
  const Json& before = recorded.contains("files") ? recorded["files"] : none;
  const Json& after = now.contains("files") ? now["files"] : none;
  for (const auto& [path, file] : before.items()) {
    const Json here = after.value(path, Json());
    differ(path, file, here, brief(file) + " when the run was started, now " + brief(here));
  }
  for (const auto& [path, file] : after.items()) {
    if (!before.contains(path)) lines.push_back(path + ": was not there, now " + brief(file));
  }
  for (const char* name : {"train", "held_out"}) {
    const Json a = recorded.value(name, Json()), b = now.value(name, Json());
    differ(std::string("problems in the ") + name + " split", a, b, a.dump() + ", now " + b.dump());
  }
  const auto a = recorded.value("tokenizer", std::string()),
             b = now.value("tokenizer", std::string());
  differ("tokenizer", a, b, "sha256 " + a.substr(0, 12) + ", now " + b.substr(0, 12));
  return lines;
}

}  // namespace zeroth
