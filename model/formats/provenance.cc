#include "model/formats/provenance.h"

#include <algorithm>

#include "core/error.h"
#include "core/version.h"
#include "model/formats/peft.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr int kDeepest = 16;  // merges of merges that are looked into

// A text of a stage's config by its path, for a reader; empty when it is not there.
std::string text_at(const Json& stage, std::initializer_list<const char*> path) {
  const Json* at = &stage;
  for (const char* name : path) {
    if (!at->is_object() || !at->contains(name)) return "";
    at = &(*at)[name];
  }
  return at->is_string() ? at->get<std::string>().substr(0, 300) : "";
}

std::string made_by(const Json& stage) { return text_at(stage, {"made_by"}); }

bool is_supervised(const std::string& name) { return name == "sft" || name == "dpo"; }

std::string model_of(const Json& stage) {
  const std::string given = text_at(stage, {"model"});
  return given.empty() ? text_at(stage, {"config", "model"}) : given;
}

std::string describe(const Json& stage) {
  const std::string name = made_by(stage), model = model_of(stage);
  if (name == "unknown") return model + ", of which nothing is recorded";
  std::string text = name.empty() ? "something without a name" : name;
  if (!model.empty()) text += " of " + model;
  for (const auto& [word, fact] :
       {std::pair{" on ", text_at(stage, {"config", "data", "path"})},
        std::pair{" on task ", text_at(stage, {"config", "task", "name"})},
        std::pair{" on corpus ", text_at(stage, {"config", "corpus", "name"})}}) {
    if (!fact.empty()) text += word + fact;
  }
  for (const std::string& bits :
       {text_at(stage, {"config", "lora", "base"}), text_at(stage, {"adapter_base"})}) {
    if (!bits.empty() && bits != "float32") text += ", an adapter over the base in " + bits;
  }
  if (stage.contains("step") && stage["step"].is_number_integer())
    text += ", " + stage["step"].dump() + " steps";
  return text;
}

template <class Use>
void for_each_stage(const Json& stages, int depth, const Use& use) {
  if (!stages.is_array() || depth > kDeepest) return;
  for (const Json& stage : stages) {
    if (!stage.is_object()) continue;
    if (stage.contains("lines") && stage["lines"].is_array()) {
      for (const Json& line : stage["lines"]) for_each_stage(line, depth + 1, use);
    }
    use(stage, depth);
  }
}

}  // namespace

Json stages_of(const fs::path& path) {
  if (path.empty()) return Json::array();
  if (is_adapter(path)) return stages_of(adapter_base(path));
  const fs::path file = path / kProvenanceFile;
  if (!fs::is_regular_file(file))
    return Json::array({{{"made_by", "unknown"}, {"model", path.string()}}});
  Json stages = read_json_file(file);
  if (!stages.is_object() || !stages.contains("stages") || !stages["stages"].is_array()) {
    fail(file.string() + " holds no list \"stages\"",
         "bring the file back, or remove it: the model then counts as one of which nothing is "
         "recorded");
  }
  return stages["stages"];
}

Json stages_before(const fs::path& checkpoint) {
  Json stages = stages_of(checkpoint);
  if (stages.empty() || made_by(stages.back()) == "unknown") return stages;
  stages.erase(stages.size() - 1);
  return stages;
}

Json new_stage(const std::string& made_by) {
  return {{"made_by", made_by}, {"version", version_string()}};
}

Json new_stage(const std::string& made_by, int64_t step, Json config,
               const std::vector<std::string>& free) {
  for (const std::string& name : free) {
    if (name == "model") continue;
    const size_t dot = name.find('.');
    if (dot == std::string::npos) {
      config.erase(name);
    } else if (config.contains(name.substr(0, dot))) {
      config[name.substr(0, dot)].erase(name.substr(dot + 1));
    }
  }
  // The moment that a chat template is told is that of the run's start, unless one was set: two runs
  // of one config have equal checkpoints. RUN/config.json keeps it.
  if (config.contains("prompt")) config["prompt"].erase("date");
  Json stage = new_stage(made_by);
  stage["step"] = step;
  stage["config"] = std::move(config);
  return stage;
}

std::string provenance_text(Json before, Json stage) {
  before.push_back(std::move(stage));
  return Json{{"stages", std::move(before)}}.dump(2) + "\n";
}

std::vector<std::string> supervised_stages(const Json& stages) {
  std::vector<std::string> found;
  for_each_stage(stages, 0, [&](const Json& stage, int) {
    if (!is_supervised(made_by(stage))) return;
    const std::string rows = text_at(stage, {"config", "data", "path"});
    found.push_back(made_by(stage) + (rows.empty() ? "" : " on " + rows));
  });
  return found;
}

std::vector<std::string> describe_stages(const Json& stages) {
  std::vector<std::string> lines;
  for_each_stage(stages, 0, [&](const Json& stage, int depth) {
    lines.push_back(std::string(2 * static_cast<size_t>(depth), ' ') + describe(stage));
  });
  return lines;
}

}  // namespace zeroth
