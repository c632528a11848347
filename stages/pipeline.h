// Stages one after another in one folder: what `zeroth pipeline` runs, as a file describes it.
//
//   {"values": {"base": "models/base", "seed": 0},
//    "measure": {"task": "sums", "n": 256, "samples": 4},
//    "stages": [
//      {"name": "cold", "run": "sft", "config": "sft.json", "set": {"model": "${base}"}},
//      {"name": "rl", "run": "train", "config": {..}, "set": {"model": "${cold}"}},
//      {"name": "rows", "run": "reject", "arguments": ["${rl.run}"], "flags": {"per_problem": 1}},
//      {"name": "mean", "run": "merge", "arguments": ["${base}", "${rl}"]}]}
//
// ${NAME} in a text is a value, or what an earlier stage has made: a checkpoint, of reject the file
// with the rows; ${NAME.run} is the folder of an earlier stage.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "core/json.h"

namespace zeroth {

struct PipelineStage {
  std::string name;     // letters, digits, - and _
  std::string command;  // pretrain, train, sft, dpo, reject, merge or eval
  Json config;          // an object that stands in the file itself; else null
  // The words of the command without those that say where it writes, values and stages put in; with
  // `config`, its file is named in them.
  std::vector<std::string> words;
  std::string measured;               // of eval: what its row is called in the table of results
  std::filesystem::path folder;       // of the stage
  std::filesystem::path made;         // what it makes: a checkpoint folder or a file of rows
  std::filesystem::path config_file;  // where `config` is to be written; empty without one

  // Whether its run goes on after it was stopped; the others begin again.
  bool resumes() const;
  bool makes_model() const { return command != "reject" && command != "eval"; }
  // The whole command line of `zeroth`, to begin or, of one that resumes(), to go on.
  std::vector<std::string> begin() const;
  std::vector<std::string> go_on() const { return {command, "--resume", folder.string()}; }
};

struct Pipeline {
  Json file;  // as it was read, with the values that were set
  std::vector<PipelineStage> stages;
};

// `file` with `values` ("NAME=VALUE", JSON or a bare word) put over its own, in `folder`. Paths of
// config files are relative to the file's folder, or else to the working directory. With "measure"
// an eval of every model that a stage makes follows it, as stage NAME_eval with these flags; a stage
// that runs eval has them too, but for those that it gives itself. Throws
// Error(kUsage) naming the file, the stage and the field for what is unknown, missing, of another
// type, or named twice.
Pipeline read_pipeline(const std::filesystem::path& file, const std::vector<std::string>& values,
                       const std::filesystem::path& folder);

}  // namespace zeroth
