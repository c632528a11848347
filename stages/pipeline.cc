#include "stages/pipeline.h"

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.h"
#include "core/json_text.h"

namespace zeroth {
namespace {

namespace fs = std::filesystem;

constexpr const char* kForm = "stages/pipeline.h and docs/recipes.md show the form";

bool is_name(const std::string& text) {
  return !text.empty() && text.size() <= 64 &&
         std::all_of(text.begin(), text.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; });
}

// A JSON value as a word of a command line.
std::string word_of(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

class Reader {
 public:
  Reader(const fs::path& file, const fs::path& folder) : file_(file), folder_(folder) {}

  Pipeline read(const std::vector<std::string>& values) {
    Pipeline pipeline;
    pipeline.file = read_json_file(file_);
    check_fields(pipeline.file, "the file", {"values", "measure", "stages"});
    Json& own = pipeline.file["values"];
    if (own.is_null()) own = Json::object();
    if (!own.is_object()) wrong("values is no object");
    for (const std::string& value : values) set_value(own, value);
    for (const auto& [name, value] : own.items()) add_name(name, word_of(value));
    measure_ = pipeline.file.value("measure", Json::object());
    if (!measure_.is_object()) wrong("measure is no object of flags");
    const Json stages = pipeline.file.value("stages", Json());
    if (!stages.is_array() || stages.empty()) wrong("stages is no list with at least one stage");
    for (size_t i = 0; i < stages.size(); ++i) {
      pipeline.stages.push_back(read_stage(stages[i]));
      // Whoever reads the copy in the folder finds the same files.
      Json& config = pipeline.file["stages"][i]["config"];
      const fs::path used = config.is_string() ? pipeline.stages.back().words[1] : std::string();
      if (!used.empty() && fs::exists(used)) config = fs::absolute(used).string();
      if (config.is_null()) pipeline.file["stages"][i].erase("config");
      if (!pipeline.file.contains("measure") || !pipeline.stages.back().makes_model()) continue;
      const PipelineStage measured = pipeline.stages.back();
      pipeline.stages.push_back(measure(measured));
    }
    return pipeline;
  }

 private:
  [[noreturn]] void wrong(const std::string& what) const {
    fail_usage(file_.string() + ": " + what, kForm);
  }

  void check_fields(const Json& object, const std::string& where,
                    const std::vector<std::string>& known) const {
    if (!object.is_object()) wrong(where + " is no object");
    for (const auto& [key, value] : object.items()) {
      if (std::find(known.begin(), known.end(), key) != known.end()) continue;
      const std::string near = nearest(key, known);
      wrong(where + " has the unknown field \"" + key + "\"" +
            (near.empty() ? "" : ", did you mean \"" + near + "\"?"));
    }
  }

  void set_value(Json& own, const std::string& assignment) const {
    const size_t equals = assignment.find('=');
    if (equals == std::string::npos)
      fail_usage("--set " + assignment + " has no '='", "give NAME=VALUE");
    const std::string name = assignment.substr(0, equals);
    if (!own.contains(name)) {
      std::vector<std::string> known;
      for (const auto& [key, value] : own.items()) known.push_back(key);
      const std::string near = nearest(name, known);
      fail_usage("--set " + assignment + " names no value of " + file_.string() +
                     (near.empty() ? "" : ", did you mean " + near + "?"),
                 "give NAME=VALUE with a name among its values");
    }
    const std::string text = assignment.substr(equals + 1);
    own[name] = try_parse_json(text).value_or(Json(text));
  }

  void add_name(const std::string& name, const std::string& value) {
    if (!is_name(name))
      wrong("\"" + name.substr(0, 80) + "\" is no name: letters, digits, - and _");
    if (!names_.emplace(name, value).second) wrong("the name " + name + " is given twice");
  }

  // Puts values and stages in.
  std::string filled(const std::string& text, const std::string& where) const {
    std::string out;
    size_t at = 0;
    for (size_t open = text.find("${"); open != std::string::npos; open = text.find("${", at)) {
      const size_t close = text.find('}', open);
      if (close == std::string::npos) wrong(where + ": \"" + text + "\" lacks a }");
      const std::string name = text.substr(open + 2, close - open - 2);
      const auto value = names_.find(name);
      if (value == names_.end())
        wrong(where + ": ${" + name + "} is neither a value nor an earlier stage");
      out += text.substr(at, open - at) + value->second;
      at = close + 1;
    }
    return out + text.substr(at);
  }
  Json filled(Json json, const std::string& where) const {
    if (json.is_string()) {
      const auto text = json.get<std::string>();
      const std::string out = filled(text, where);
      // A value that stands alone keeps its type.
      if (out != text && text.starts_with("${") && text.find('}') == text.size() - 1) {
        const auto parsed = try_parse_json(out);
        if (parsed && (parsed->is_number() || parsed->is_boolean())) return *parsed;
      }
      return out;
    }
    if (json.is_structured()) {
      for (auto& [key, value] : json.items()) value = filled(value, where);
    }
    return json;
  }

  std::string text_of(const Json& stage, const char* field, const std::string& where) const {
    const auto at = stage.find(field);
    if (at == stage.end() || !at->is_string()) wrong(where + " lacks the text \"" + field + "\"");
    return at->get<std::string>();
  }

  PipelineStage read_stage(const Json& json) {
    if (!json.is_object()) wrong("a stage is no object");
    PipelineStage stage;
    stage.name = text_of(json, "name", "a stage");
    const std::string where = "stage " + stage.name;
    check_fields(json, where, {"name", "run", "config", "set", "arguments", "flags"});
    stage.command = text_of(json, "run", where);
    const std::vector<std::string> known = {"pretrain", "train", "sft", "dpo",
                                            "reject",   "merge", "eval"};
    if (std::find(known.begin(), known.end(), stage.command) == known.end())
      wrong(where + ": \"" + stage.command + "\" is no command of a pipeline");
    if (!is_name(stage.name)) wrong("\"" + stage.name.substr(0, 80) + "\" is no name of a stage");
    for (const char* own : {"pipeline", "finished", "summary", "lock"}) {
      if (stage.name == own) wrong("a stage cannot be called " + stage.name + ", as a file is");
    }
    place(stage);
    stage.words = {stage.command};
    if (stage.resumes()) {
      add_config(json, where, stage);
    } else if (json.contains("config") || json.contains("set")) {
      wrong(where + ": " + stage.command + " has flags, no config");
    }
    const Json arguments = json.value("arguments", Json::array());
    if (!arguments.is_array()) wrong(where + ": arguments is no list");
    for (const Json& argument : arguments) stage.words.push_back(filled(word_of(argument), where));
    Json flags = json.value("flags", Json::object());
    if (!flags.is_object()) wrong(where + ": flags is no object");
    if (stage.command == "eval") {
      stage.measured = stage.name;
      Json own = std::exchange(flags, measure_);
      flags.update(own);
    }
    add_flags(flags, where, stage);
    add_name(stage.name, stage.made.string());
    names_[stage.name + ".run"] = stage.folder.string();
    return stage;
  }

  void place(PipelineStage& stage) const {
    stage.folder = folder_ / stage.name;
    if (stage.resumes()) {
      stage.made = stage.folder / "checkpoints" / "latest";
    } else if (stage.command == "merge") {
      stage.made = stage.folder / "model";
    } else {
      stage.made = stage.folder / (stage.command == "reject" ? "rows.jsonl" : "samples.jsonl");
    }
  }

  void add_config(const Json& json, const std::string& where, PipelineStage& stage) const {
    const Json config = json.value("config", Json());
    if (config.is_object()) {
      stage.config = filled(config, where);
      stage.config_file = folder_ / (stage.name + ".json");
      stage.words.push_back(stage.config_file.string());
    } else if (config.is_string()) {
      const fs::path name = filled(config.get<std::string>(), where);
      const fs::path beside = file_.parent_path() / name;
      stage.words.push_back((fs::exists(beside) ? beside : name).string());
    } else {
      wrong(where + " lacks its config: a file's name or an object");
    }
    const Json set = json.value("set", Json::object());
    if (!set.is_object()) wrong(where + ": set is no object");
    for (const auto& [name, value] : set.items()) {
      stage.words.emplace_back("--set");
      stage.words.push_back(name + "=" + word_of(filled(value, where)));
    }
  }

  void add_flags(const Json& flags, const std::string& where, PipelineStage& stage) const {
    for (const auto& [name, value] : flags.items()) {
      if (name == "out" || name == "resume" || name == "save" || name == "json")
        wrong(where + ": the flag " + name + " is the pipeline's own");
      stage.words.push_back("--" + name + "=" + word_of(filled(value, where)));
    }
  }

  PipelineStage measure(const PipelineStage& of) {
    PipelineStage stage = read_stage(
        {{"name", of.name + "_eval"}, {"run", "eval"}, {"flags", {{"model", of.made.string()}}}});
    stage.measured = of.name;
    return stage;
  }

  const fs::path file_, folder_;
  Json measure_;  // flags of every eval
  std::map<std::string, std::string> names_;
};

}  // namespace

bool PipelineStage::resumes() const {
  return command == "pretrain" || command == "train" || command == "sft" || command == "dpo";
}

std::vector<std::string> PipelineStage::begin() const {
  std::vector<std::string> all = words;
  if (command == "eval") {
    all.insert(all.end(), {"--save", made.string(), "--json"});
  } else {
    all.insert(all.end(), {"--out", (resumes() ? folder : made).string()});
  }
  return all;
}

Pipeline read_pipeline(const fs::path& file, const std::vector<std::string>& values,
                       const fs::path& folder) {
  return Reader(file, folder).read(values);
}

}  // namespace zeroth
