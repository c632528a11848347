#include "model/formats/model_folder.h"

#include <algorithm>
#include <set>

#include "core/error.h"
#include "core/files.h"
#include "core/json.h"
#include "model/formats/gguf_model.h"
#include "text/lfs_pointer.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxIndex = uint64_t{256} << 20;

// The names in a folder, sorted; at most so many are looked at.
std::vector<std::string> names_in(const fs::path& dir) {
  constexpr size_t kMost = 10000;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator at(dir, error), end; !error && at != end && names.size() < kMost;
       at.increment(error)) {
    names.push_back(at->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// What a folder without safetensors weights holds, and what to do about it; empty: nothing known.
std::pair<std::string, std::string> other_contents(const fs::path& dir) {
  std::pair<std::string, std::string> out;
  const auto say = [&](const std::string& what, const std::string& fix) {
    if (out.first.empty()) out = {what, fix};
  };
  const std::vector<std::string> names = names_in(dir);
  const auto has = [&](const char* name) {
    return std::binary_search(names.begin(), names.end(), name);
  };
  if (has("snapshots") && fs::is_directory(dir / "snapshots")) {
    const std::vector<std::string> snapshots = names_in(dir / "snapshots");
    const std::string one = snapshots.empty() ? "NAME" : snapshots.back();
    say("the root of a Hugging Face cache entry",
        "give the snapshot: " + (dir / "snapshots" / one).string());
  }
  if (has("adapter_config.json") || has("adapter_model.safetensors")) {
    say("an adapter (adapter_config.json), not a model",
        "give its base model, and this folder with --adapter; or the two to zeroth merge");
  }
  for (const std::string& name : names) {
    if (name.ends_with(".gguf")) say(name, "give that file: " + (dir / name).string());
    if (name.starts_with("pytorch_model") || name.ends_with(".bin") || name.ends_with(".pth") ||
        name.ends_with(".pt")) {
      say(name + ", weights in Python's pickle format",
          "convert them once with transformers: AutoModelForCausalLM.from_pretrained(DIR)"
          ".save_pretrained(DIR2)");
    }
    if (name.ends_with(".safetensors")) {
      say(name + " and no " + kWeightsIndex, "rename a single file to " +
                                                 std::string(kWeightsFile) +
                                                 ", or fetch the index of the shards");
    }
  }
  return out;
}

// A name on the hub: two words with a slash between them.
bool is_hub_name(const std::string& text) {
  const size_t slash = text.find('/');
  return slash != std::string::npos && slash > 0 && slash + 1 < text.size() &&
         text.find('/', slash + 1) == std::string::npos && text[0] != '.' && text[0] != '/' &&
         !fs::exists(text.substr(0, slash));
}

std::vector<std::pair<std::string, std::string>> read_index(const fs::path& path) {
  const std::string text = read_file(path, kMaxIndex);
  refuse_lfs_pointer(text, path.string());
  const Json index = parse_json(text, path.string());
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    fail(path.string() + ": 'weight_map' is missing or not an object", "fetch the index again");
  }
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name[0] == '.' ||
        name.find('\0') != std::string::npos || name.size() > 255) {
      fail(path.string() + ": a tensor has no plain file name", "fetch the index again");
    }
    out.emplace_back(tensor, name);
  }
  return out;
}

std::set<std::string> files_of(const std::vector<std::pair<std::string, std::string>>& weight_map) {
  std::set<std::string> names;
  for (const auto& [tensor, file] : weight_map) names.insert(file);
  return names;
}

}  // namespace

void check_model_path(const fs::path& path) {
  if (is_gguf(path)) return;
  if (!fs::exists(path)) {
    if (is_hub_name(path.string())) {
      fail("there is no folder " + path.string() + ", and nothing is fetched from a hub here",
           "download the model first, and give its folder");
    }
    fail("no model directory at " + path.string(),
         "give a folder with config.json and safetensors weights, or a .gguf file");
  }
  if (!fs::is_directory(path)) {
    fail("no model directory at " + path.string() + ", but a file that is no GGUF",
         "give the folder that holds config.json and the weights");
  }
  if (fs::exists(path / "config.json")) return;
  const auto [what, fix] = other_contents(path);
  if (!what.empty()) fail(path.string() + " has no config.json; it holds " + what, fix);
  fail(path.string() + " has no config.json",
       "give a folder with config.json and safetensors weights, or a .gguf file");
}

WeightFiles find_weight_files(const fs::path& dir, std::vector<std::string>& notes) {
  WeightFiles out;
  if (fs::exists(dir / "adapter_config.json")) {
    notes.push_back(
        "adapter_config.json lies beside the weights: the adapter is not applied, the "
        "weights are read as they are");
  }
  const bool indexed = fs::exists(dir / kWeightsIndex);
  if (fs::exists(dir / kWeightsFile)) {
    out.files = {kWeightsFile};
    if (!indexed) return out;
    const std::set<std::string> listed = files_of(read_index(dir / kWeightsIndex));
    if (!listed.empty() && listed != std::set<std::string>{kWeightsFile}) {
      notes.push_back(std::string(kWeightsIndex) + " names other files, such as " +
                      *listed.begin() + ": " + kWeightsFile +
                      " beside it is read, as transformers does");
    }
    return out;
  }
  if (indexed) {
    out.weight_map = read_index(dir / kWeightsIndex);
    const std::set<std::string> names = files_of(out.weight_map);
    out.files.assign(names.begin(), names.end());
    return out;
  }
  const auto [what, fix] = other_contents(dir);
  if (!what.empty()) {
    fail("no " + std::string(kWeightsFile) + " or " + kWeightsIndex + " in " + dir.string() +
             "; it holds " + what,
         fix);
  }
  fail("no " + std::string(kWeightsFile) + " or " + kWeightsIndex + " in " + dir.string(),
       "give a Hugging Face model directory with safetensors weights");
}

}  // namespace zeroth
